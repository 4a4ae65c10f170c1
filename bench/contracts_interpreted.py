"""Calls of contracts by the interpreter on one core: a typical mix of each example, on a world in memory.

Keys: for each of `examples`, `calls_per_s`, `us_per_call`, `gas_per_call` and `ratio_to_plain_python`: its
calls over `plain_python_per_s`, rounds of a plain loop in the same run. Such a round is the least that a call
needs whatever runs it: two SHA-256 that make keys of rows, and two updates of a dict.
`signature_yardstick_per_core` is what libsodium verifies on one core in the same run, and
`ratio_to_signature` of `slowest` is the calls of the slowest example over that.
"""

from __future__ import annotations


def measure_interpreter(seconds: float) -> dict[str, object]:
    """Run each mix, and the yardsticks beside them."""
    from bench.contract_mixes import MIXES
    from bench.yardstick import libsodium_verifies_per_s

    plain = plain_python_per_s(seconds)
    measured = {mix.name: measure(mix.name, seconds) for mix in MIXES}
    signatures = libsodium_verifies_per_s(seconds)
    slowest = min(measured, key=lambda name: measured[name][0])
    return {
        "engine": "interpreter",
        "examples": {
            name: {
                "calls_per_s": round(calls),
                "us_per_call": round(1e6 / calls, 1),
                "gas_per_call": round(gas),
                "ratio_to_plain_python": round(calls / plain, 4),
            }
            for name, (calls, gas) in measured.items()
        },
        "slowest": {"name": slowest, "ratio_to_signature": round(measured[slowest][0] / signatures, 2)},
        "plain_python_per_s": round(plain),
        "signature_yardstick_per_core": round(signatures),
    }


def measure(name: str, seconds: float) -> tuple[float, float]:
    """Calls a second of a mix, and gas a call. The mix begins anew each time, and is run once at least."""
    import time

    from bench.contract_mixes import MIXES, ExampleDeployment

    deployment = ExampleDeployment(next(mix for mix in MIXES if mix.name == name))
    calls, gas, began = 0, 0, time.perf_counter()
    while True:
        deployment.again()
        for step in deployment.steps:
            gas += deployment.run(step).gas_used
        calls += len(deployment.steps)
        taken = time.perf_counter() - began
        if taken >= seconds:
            return calls / taken, gas / calls


def plain_python_per_s(seconds: float) -> float:
    """Rounds a second of what a call of any contract needs at least."""
    import time
    from hashlib import sha256

    rows: dict[bytes, bytes] = {}
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for number in range(1_000):
            for who in (b"a", b"b"):
                key = sha256(who * 34 + (number % 100).to_bytes(32, "little")).digest()
                rows[key] = (int.from_bytes(rows.get(key, b""), "little") + 1).to_bytes(8, "little")
        done += 1_000
    return done / (time.perf_counter() - began)
