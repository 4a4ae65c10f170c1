"""Runs attacks on a network of three, an honest client beside each, and judges whether the network held.

For each attack: the honest client alone, once the network is quiet, then beside the attack, then alone until
it is served. A network is quiet when the honest p99 is short, or neither falls any more nor is far from the
best seen, so that the tail of one attack does not stand in the figures before the next. It held if

1. the attack says so itself: it did not get what it wanted;
2. every honest transfer was committed, and their p99 stayed within HONEST_MS_ALWAYS, HONEST_FACTOR_MAX times
   what it was before, or BUSY_FACTOR_MAX times what it is beside a client who pays for all that he sends;
3. no process of the network grew by more than GROWTH_MB_MAX, and none died;
4. all nodes that the attack leaves alone agree on one chain afterwards, and none has halted.

An attack that takes a member's place or key for good gets a network of its own.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from actors.ledger.block import HEADER_BYTES
from actors.settings import Settings
from bench.attack.child import BUSY_CLIENT
from bench.attack.honest import HonestPlan, Payment
from bench.attack.registry import Attack, AttackOutcome, AttackTarget

MEMBERS = 3
BEFORE_S, AFTER_S_MAX, LATE_S_MAX = 5.0, 60.0, 90.0
QUIET_LOOK_S, QUIET_S_MAX, QUIET_MS, QUIET_FACTOR, ENDED_SHARE_MIN = 3.0, 12.0, 200.0, 2.0, 0.9
# Few enough that a network of three on two busy cores has room: an attack is seen, not a full network.
HONEST_TPS, HONEST_KEYS, HONEST_FEE = 8.0, 64, 1
HONEST_MS_ALWAYS, HONEST_FACTOR_MAX, BUSY_FACTOR_MAX = 1_500.0, 10.0, 2.0
BUSY_S = 8.0
GROWTH_MB_MAX = 400.0
ATTACKERS_FIRST, ATTACKERS = 128, 320
_ROOT = Path(__file__).parent.parent.parent
Log = Callable[[str], None]


class _Honest:
    """The honest client's process; what it reports is read as it comes."""

    def __init__(self, plan: HonestPlan) -> None:
        command = [sys.executable, "-m", "bench.attack.honest"]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(plan))
        self._process.stdin.close()
        self.payments: list[Payment] = []
        self.looks_ms: list[float] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.payments.append(msgspec.json.decode(line, type=Payment))

    def await_served(self, since_s: float, until_s: float) -> bool:
        """Whether a transfer that was due after `since_s` is committed before `until_s`."""
        while time.monotonic() < until_s:
            if any(payment.due_s >= since_s and not payment.error for payment in list(self.payments)):
                return True
            time.sleep(0.1)
        return False

    def await_quiet(self, until_s: float) -> list[float]:
        """The p99 of each look until the network was quiet, or until then."""
        first = len(self.looks_ms)
        while True:
            began_s = time.monotonic()
            time.sleep(QUIET_LOOK_S)
            looked = self.between(began_s - QUIET_LOOK_S, began_s)
            self.looks_ms.append(_p99_of_all_ms(looked, QUIET_LOOK_S * HONEST_TPS))
            if _is_quiet(self.looks_ms, first) or time.monotonic() >= until_s:
                return self.looks_ms[first:]

    def between(self, first_s: float, last_s: float) -> list[Payment]:
        """Transfers that were due in this time and have ended."""
        return [payment for payment in list(self.payments) if first_s <= payment.due_s < last_s]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._reader.join()


class _Memory:
    """Resident memory of each process of the network, looked at again and again; the most one has grown."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._before = self._look()
        self._stop = threading.Event()
        self.mb_max, self.growth_mb_max = max(self._before.values(), default=0.0), 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _look(self) -> dict[int, float]:
        found = {}
        for pid in self._pids:
            with suppress(psutil.Error):
                found[pid] = psutil.Process(pid).memory_info().rss / 2**20
        return found

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            for pid, mb in self._look().items():
                self.mb_max = max(self.mb_max, mb)
                self.growth_mb_max = max(self.growth_mb_max, mb - self._before.get(pid, mb))

    def end(self) -> int:
        """Stop looking; how many of the processes are gone."""
        self._stop.set()
        self._thread.join()
        return sum(not psutil.pid_exists(pid) for pid in self._pids)


def run_attacks(settings: Settings, chosen: list[Attack], seconds: float, log: Log) -> list[dict[str, Any]]:
    """Run the chosen attacks; one row each, in the order of running."""
    harmless = [each for each in chosen if not each.harms_member]
    rounds = [harmless] if harmless else []
    rounds += [[each] for each in chosen if each.harms_member]
    rows: list[dict[str, Any]] = []
    busy_ms = 0.0
    for together in rounds:
        with _network(settings) as (nodes, honest):
            busy_ms = busy_ms or _beside_busy_client(nodes, honest, log)
            for each in together:
                log(f"attack {each.name}")
                looks_ms = honest.await_quiet(time.monotonic() + QUIET_S_MAX)
                log(f"  honest p99 before it: {', '.join(f'{ms:,.0f}' for ms in looks_ms)} ms")
                row = _one(nodes, honest, each, seconds, busy_ms)
                figures = f"honest p99 {row['honest_p99_ms_during']:,.0f} ms, {row['elections']} elections"
                log(f"  {'held' if row['held'] else 'NOT HELD'}: {figures}; {row['detail']}")
                rows.append(row)
    return rows


@contextmanager
def _network(settings: Settings) -> Iterator[tuple[list[Any], _Honest]]:
    from actors.topology import running_network

    with (
        tempfile.TemporaryDirectory(prefix="raychain-attack-") as folder,
        running_network(settings, Path(folder) / "data", MEMBERS) as (_, nodes),
    ):
        genesis, urls = nodes[0].directory.genesis, [node.url for node in nodes]
        plan = HonestPlan(urls, genesis.network, genesis.chain_tag, HONEST_FEE, 0, HONEST_KEYS, HONEST_TPS)
        honest = _Honest(plan)
        try:
            if not honest.await_served(0.0, time.monotonic() + AFTER_S_MAX):
                raise RuntimeError("the network does not serve an honest client before any attack")
            yield nodes, honest
        finally:
            honest.close()


def _target(nodes: list[Any], seconds: float) -> AttackTarget:
    wires = [str(node.facts["peer"]["address"]).rsplit(":", 1) for node in nodes]
    first = nodes[0].directory
    return AttackTarget(
        urls=tuple(node.url for node in nodes),
        wires=tuple((host, int(port)) for host, port in wires),
        folders=tuple(node.folder.path.resolve() for node in nodes),
        genesis_path=(first.path / "genesis.json").resolve(),
        pids=tuple(pid for node in nodes for pid in node.pids().values()),
        development=tuple(range(ATTACKERS_FIRST, ATTACKERS_FIRST + ATTACKERS)),
        seconds=seconds,
    )


def _beside_busy_client(nodes: list[Any], honest: _Honest, log: Log) -> float:
    """Honest p99, in ms, while another client pays for thousands of rows: what this machine has to give."""
    honest.await_quiet(time.monotonic() + QUIET_S_MAX)
    began_s = time.monotonic()
    outcome = _attack(BUSY_CLIENT, _target(nodes, BUSY_S))
    if not outcome.held:
        raise RuntimeError(outcome.detail)
    honest.await_served(time.monotonic(), time.monotonic() + AFTER_S_MAX)
    busy_ms = _p99_ms(honest.between(began_s, began_s + BUSY_S))
    log(f"beside a busy client: honest p99 {busy_ms:,.0f} ms; {outcome.detail}")
    return busy_ms


def _one(nodes: list[Any], honest: _Honest, each: Attack, seconds: float, busy_ms: float) -> dict[str, Any]:
    target = _target(nodes, seconds)
    quiet_s, term = time.monotonic(), _term(nodes)
    time.sleep(BEFORE_S)
    memory, began_s = _Memory(target.pids), time.monotonic()
    outcome = _attack(each.name, target)
    ended_s = time.monotonic()
    served = honest.await_served(ended_s, ended_s + AFTER_S_MAX)
    gone = memory.end()
    before, during = honest.between(quiet_s, began_s), honest.between(began_s, ended_s)
    problems = [] if outcome.held else ["the attack succeeded"]
    problems += _of_honest(before, during, served, busy_ms)
    if memory.growth_mb_max > GROWTH_MB_MAX:
        problems.append(f"a process grew by {memory.growth_mb_max:,.0f} MB")
    if gone:
        problems.append(f"{gone} processes died")
    problems += _of_chain(nodes[: MEMBERS - 1] if each.harms_member else nodes)
    return {
        "attack": each.name,
        "kind": each.kind,
        "held": not problems,
        "honest_p99_ms_before": _p99_ms(before),
        "honest_p99_ms_during": _p99_ms(during),
        "honest_p99_ms_beside_busy_client": busy_ms,
        "memory_mb_max": round(memory.mb_max, 1),
        "seconds": round(ended_s - began_s, 1),
        "elections": _term(nodes) - term,
        "detail": "; ".join([outcome.detail, *problems]),
    }


def _attack(name: str, target: AttackTarget) -> AttackOutcome:
    command = [sys.executable, "-m", "bench.attack.child", name]
    try:
        ended = subprocess.run(
            command,
            cwd=_ROOT,
            input=target.encode(),
            capture_output=True,
            timeout=target.seconds + LATE_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return AttackOutcome(False, f"the attack did not end within {target.seconds + LATE_S_MAX:.0f} s")
    if ended.returncode:
        return AttackOutcome(False, f"the attack failed: {ended.stderr.decode(errors='replace')[-500:]}")
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=AttackOutcome)


def _of_honest(before: list[Payment], during: list[Payment], served: bool, busy_ms: float) -> list[str]:
    problems = []
    failed = [payment.error for payment in during if payment.error]
    if failed:
        problems.append(f"{len(failed)} of {len(during)} honest transfers failed ({failed[0]})")
    bound_ms = max(HONEST_MS_ALWAYS, HONEST_FACTOR_MAX * _p99_ms(before), BUSY_FACTOR_MAX * busy_ms)
    if _p99_ms(during) > bound_ms:
        problems.append(f"honest p99 {_p99_ms(during):,.0f} ms, at most {bound_ms:,.0f}")
    if not served:
        problems.append(f"the honest client was not served within {AFTER_S_MAX:.0f} s after it")
    return problems


def _p99_ms(payments: list[Payment]) -> float:
    """99th percentile (nearest rank) of those that were committed; 0 if none was."""
    taken = sorted(payment.latency_ms for payment in payments if not payment.error)
    return round(taken[-(-99 * len(taken) // 100) - 1], 1) if taken else 0.0


def _p99_of_all_ms(payments: list[Payment], due: float) -> float:
    """As `_p99_ms`; without end where too few of those that were due have ended well."""
    ended = sum(not payment.error for payment in payments)
    return _p99_ms(payments) if ended >= ENDED_SHARE_MIN * due else math.inf


def _is_quiet(looks_ms: list[float], first: int) -> bool:
    """Whether the last of these p99 is that of a network at rest; those before `first` are earlier."""
    last = looks_ms[-1]
    if last <= QUIET_MS:
        return True
    fell = len(looks_ms) - first < 2 or last * QUIET_FACTOR < looks_ms[-2]
    return not fell and last < math.inf and last <= QUIET_FACTOR * min(looks_ms)


def _term(nodes: list[Any]) -> int:
    """As the first node has it, which no attack harms."""
    return int(nodes[0].call("consensus", "status")["term"])


def _of_chain(nodes: list[Any]) -> list[str]:
    statuses = [node.call("consensus", "status") for node in nodes]
    halted = [str(status["halted"]) for status in statuses if status["halted"]]
    if halted:
        return [f"halted: {halted[0]}"]
    return [] if _agree(nodes) else ["the nodes disagree, or one of them lags"]


def _agree(nodes: list[Any], deadline_s: float = 30.0) -> bool:
    """Whether all nodes reach the least common height of now with one hash: the chain may go on meanwhile."""
    from actors.sdk.client import Client

    clients = [Client(node.url) for node in nodes]
    try:
        until = time.monotonic() + deadline_s
        aim = max(node.call("storage", "head").height for node in nodes)
        while time.monotonic() < until:
            sealed = [client.sealed_header(aim) or b"" for client in clients]
            if all(sealed):
                return len({each[:HEADER_BYTES] for each in sealed}) == 1
            time.sleep(0.2)
        return False
    finally:
        for client in clients:
            client.close()
