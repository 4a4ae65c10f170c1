"""What `demo` says to people: whether it held, what was checked, how fast it was, and what to try next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.console import Standing, Summary
from actors.figures import counted, span

Result = Mapping[str, Any]


def _heights(result: Result) -> str:
    """The height of all, or each one's where they differ."""
    return ", ".join(f"{height:,}" for height in sorted(set(result["heights"])))


def _errors(result: Result) -> str:
    if result.get("killed"):
        return "not judged, since a node was killed"
    errors = result.get("load_errors") or {}
    if not errors:
        return "no request failed, no transaction was refused"
    return ", ".join(f"{name}: {number:,}" for name, number in errors.items())


# Each check of the result, and what it found, in words.
_CHECKS: dict[str, tuple[str, Callable[[Result], str]]] = {
    "nothing_lost": (
        "nothing lost",
        lambda result: (
            f"{result['lost_committed']:,} of {result['acknowledged']:,} acknowledged are in no block"
            if result["lost_committed"]
            else f"all {result['acknowledged']:,} acknowledged are in blocks"
        ),
    ),
    "roots_agree": (
        "one state",
        lambda result: f"{counted(result['nodes'], 'member')} at height {_heights(result)}, same state root",
    ),
    "supply_conserved": ("no coin made", lambda _: "all balances add up to what the genesis gave out"),
    "proof_verified": ("proofs hold", lambda _: "a transaction's proof was verified on this side"),
    "certificates_verified": (
        "signed blocks",
        lambda result: f"of {counted(result['certificates'], 'block')} looked at, a majority signed each",
    ),
    "no_errors": ("no errors", _errors),
}


def demo_summary(result: Result) -> Summary:
    """result: of `demo`, as --json has it. What is true or false in it is a check."""
    verdicts = {name: held for name, held in result.items() if isinstance(held, bool) and name != "passed"}
    ordered = [*(name for name in _CHECKS if name in verdicts), *sorted(set(verdicts) - set(_CHECKS))]
    failed = [_words(name) for name in ordered if not verdicts[name]]
    members, committed = counted(result["nodes"], "member"), f"{result['committed']:,} transactions"
    if result["passed"]:
        sentence = f"Passed: {members} committed {committed}, {result['tps']:,.0f} a second, and lost none."
    else:
        sentence = f"Failed: {', '.join(failed)}; {members} committed {committed}."
    checks: list[tuple[Standing, str, str]] = [
        ("good" if verdicts[name] else "bad", _words(name), _found(name, result)) for name in ordered
    ]
    following = ["node.py up  starts a network that stays", *_others(result), "node.py demo --verbose"]
    standing: Standing = "good" if result["passed"] else "bad"
    return Summary(sentence, standing, checks=checks, facts=_facts(result), following=following)


def _words(check: str) -> str:
    return _CHECKS[check][0] if check in _CHECKS else check.replace("_", " ")


def _found(check: str, result: Result) -> str:
    return _CHECKS[check][1](result) if check in _CHECKS else ""


def _facts(result: Result) -> list[tuple[str, str]]:
    p50, p99 = span(result["p50_ms"] / 1_000), span(result["p99_ms"] / 1_000)
    facts = [
        ("rate", f"{result['tps']:,.0f}/s of {result['offered_tps']:,.0f}/s offered over HTTP"),
        ("latency", f"half within {p50}, 99 of 100 within {p99}, until committed"),
        ("at most", f"{result['calibration_tps']:,.0f}/s when pressed"),
    ]
    if result.get("killed"):
        facts.append(
            ("killed", f"{result['killed']}; blocks again {span(result['failover_ms'] / 1_000)} later")
        )
    if result.get("limiting_actor"):
        facts[2] = ("at most", f"{facts[2][1]}; {result['limiting_actor']} takes most of the CPU")
    synced = result.get("durability") == "sync"
    facts.append(
        ("disk", "every block was synced before it counted" if synced else str(result["durability"]))
    )
    return facts


def _others(result: Result) -> list[str]:
    """Other demos that this machine can show."""
    if result.get("killed"):
        return ["node.py demo --kill follower"] if not result["passed"] else []
    return ["node.py demo --kill leader  kills the leader's whole node under load"]
