"""How an attack is registered, and how it is judged whether a network held."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from bench.attack import run as runner
from bench.attack.honest import Payment
from bench.attack.registry import AttackOutcome, AttackTarget, attack, attacks, decode_target
from bench.attack.run import _attack, _is_quiet, _of_honest, _p99_ms, _p99_of_all_ms

TARGET = AttackTarget(
    ("http://127.0.0.1:1",), (("127.0.0.1", 2),), (Path("/n"),), Path("/g"), (3,), (4,), 1.0
)


def payments(*latencies_ms: float, error: str = "") -> list[Payment]:
    return [Payment(0.0, latency_ms, error) for latency_ms in latencies_ms]


def test_every_attack_says_what_it_tries_and_what_family_it_is_of() -> None:
    for name, each in attacks().items():
        assert name == each.name
        assert each.kind
        assert (each.run.__doc__ or "").strip(), name


def test_an_attack_has_one_name() -> None:
    taken = next(iter(attacks()), None)
    if taken is None:
        attack("only", "test")(lambda _target: AttackOutcome(True, ""))
        taken = "only"
    with pytest.raises(ValueError, match="registered twice"):
        attack(taken, "test")(lambda _target: AttackOutcome(True, ""))


def test_a_target_reaches_the_process_of_an_attack_whole() -> None:
    assert decode_target(TARGET.encode()) == TARGET


def test_honest_transfers_that_fail_or_take_too_long_are_problems() -> None:
    quiet, bound = payments(*[50.0] * 20), runner.HONEST_MS_ALWAYS
    assert _of_honest(quiet, payments(bound), served=True, busy_ms=0.0) == []
    (slow,) = _of_honest(quiet, payments(bound + 1), served=True, busy_ms=0.0)
    assert "honest p99" in slow
    busy = payments(*[bound] * 20)
    assert _of_honest(busy, payments(bound * runner.HONEST_FACTOR_MAX), served=True, busy_ms=0.0) == []
    beside = 4 * bound
    assert _of_honest(quiet, payments(beside * runner.BUSY_FACTOR_MAX), served=True, busy_ms=beside) == []
    (failed,) = _of_honest(quiet, payments(10.0) + payments(10.0, error="503"), served=True, busy_ms=0.0)
    assert failed.startswith("1 of 2 honest transfers failed (503)")
    (unserved,) = _of_honest(quiet, quiet, served=False, busy_ms=0.0)
    assert "not served" in unserved


@pytest.mark.parametrize(
    ("looks_ms", "first", "quiet"),
    [
        ([150.0], 0, True),
        ([900.0], 0, False),
        ([2_000.0, 900.0], 0, False),
        ([900.0, 850.0], 0, True),
        ([400.0, 3_000.0], 1, False),
        ([400.0, 3_000.0, 2_500.0], 1, False),
        ([400.0, 3_000.0, 500.0], 1, False),
        ([400.0, 3_000.0, 500.0, 450.0], 1, True),
        ([400.0, math.inf], 1, False),
        ([math.inf, math.inf], 0, False),
    ],
)
def test_a_network_is_quiet_when_the_tail_of_an_attack_is_over(
    looks_ms: list[float], first: int, quiet: bool
) -> None:
    assert _is_quiet(looks_ms, first) is quiet


def test_a_look_at_which_transfers_are_missing_sees_no_quiet_network() -> None:
    assert _p99_of_all_ms(payments(*[50.0] * 60), due=60) == 50.0
    assert _p99_of_all_ms(payments(*[50.0] * 50), due=60) == math.inf
    assert _p99_of_all_ms(payments(*[50.0] * 50) + payments(1.0, error="503") * 10, due=60) == math.inf


def test_the_99th_percentile_is_the_nearest_rank_of_what_was_committed() -> None:
    assert _p99_ms([]) == 0.0
    assert _p99_ms(payments(*range(1, 101))) == 99.0
    assert _p99_ms(payments(5.0) + payments(900.0, error="lost")) == 5.0


def test_an_attack_that_fails_by_itself_has_not_been_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    outcome = _attack("no-such-attack", TARGET)
    assert not outcome.held
    assert "the attack failed" in outcome.detail
