"""What happens when the kernel and libsodium disagree, and what bounds the second opinions."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from actors.kernels.interface import SignatureVerifier
from actors.kernels.trust import AUDITS_MAX, TrustedVerifier, TrustPolicy


def columns(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that carry their verdict: a signature that begins with 1 is good."""
    keys = np.arange(rows * 32, dtype=np.uint32).astype(np.uint8).reshape(rows, 32)
    signatures = np.zeros((rows, 64), np.uint8)
    signatures[:, 0] = 1
    return keys, signatures, np.zeros((rows, 10), np.uint8)


def honest(keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
    good: np.ndarray = signatures[:, 0] == 1
    return good


class Bench:
    """A trusted verifier, with a clock that the test turns and a list of alarms."""

    def __init__(
        self, kernel: SignatureVerifier, oracle: SignatureVerifier = honest, **policy: float
    ) -> None:
        self.now = 0.0
        self.alarms: list[str] = []
        self.verifier = TrustedVerifier(
            kernel, oracle, TrustPolicy(**policy), self.alarms.append, 1, lambda: self.now
        )


def test_an_honest_kernel_is_never_stopped() -> None:
    bench = Bench(honest, audited_share=0.5)
    keys, signatures, messages = columns(100)
    signatures[::7, 0] = 0
    for _ in range(5):
        assert np.array_equal(bench.verifier.verify(keys, signatures, messages), signatures[:, 0] == 1)
    bench.verifier.wait_for_audits()
    counts = bench.verifier.statistics()
    assert counts["rejections_confirmed"] == 5 * 15
    assert 100 < counts["audited"] < 5 * 85
    assert counts["kernel_stopped"] == counts["disagreements"] == 0
    assert bench.alarms == []


def test_a_wrong_rejection_is_answered_rightly_and_stops_the_kernel() -> None:
    calls: list[int] = []

    def wrong(keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
        calls.append(len(keys))
        return np.not_equal(np.arange(len(keys)), 3)

    bench = Bench(wrong, audited_share=0)
    assert bench.verifier.verify(*columns(10)).all()
    assert bench.verifier.verify(*columns(10)).all()
    assert calls == [10]
    assert len(bench.alarms) == 1
    assert columns(10)[0][3].tobytes().hex() in bench.alarms[0]
    assert bench.verifier.statistics()["kernel_stopped"] == 1


def test_a_wrong_acceptance_is_found_by_the_audit() -> None:
    def wrong(keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
        return np.ones(len(keys), np.bool_)

    bench = Bench(wrong, audited_share=1)
    keys, signatures, messages = columns(8)
    signatures[5, 0] = 0
    assert bench.verifier.verify(keys, signatures, messages).all()
    bench.verifier.wait_for_audits()
    assert not bench.verifier.verify(keys, signatures, messages)[5]
    assert len(bench.alarms) == 1
    assert bench.verifier.statistics()["disagreements"] == 1


def test_confirmations_are_bounded() -> None:
    asked: list[int] = []

    def oracle(keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
        asked.append(len(keys))
        return honest(keys, signatures, messages)

    bench = Bench(honest, oracle, audited_share=0, confirmations_per_s=10, confirmations_burst=20)
    keys, signatures, messages = columns(50)
    signatures[:, 0] = 0
    for _ in range(3):
        assert not bench.verifier.verify(keys, signatures, messages).any()
    assert asked == [20]
    bench.now = 0.5
    bench.verifier.verify(keys, signatures, messages)
    assert asked == [20, 5]
    bench.now = 1e9
    bench.verifier.verify(keys, signatures, messages)
    assert asked == [20, 5, 20]
    counts = bench.verifier.statistics()
    assert counts["rejections_confirmed"] == 45
    assert counts["rejections_unconfirmed"] == 5 * 50 - 45


def test_audits_that_wait_are_bounded() -> None:
    gate = threading.Event()

    def slow(keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
        gate.wait(10)
        return honest(keys, signatures, messages)

    bench = Bench(honest, slow, audited_share=1)
    for _ in range(AUDITS_MAX + 10):
        assert bench.verifier.verify(*columns(2)).all()
    gate.set()
    bench.verifier.wait_for_audits()
    counts = bench.verifier.statistics()
    assert counts["audits_dropped"] >= 2 * 9
    assert counts["audited"] + counts["audits_dropped"] == 2 * (AUDITS_MAX + 10)


def test_one_row_goes_to_libsodium() -> None:
    def never(keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
        raise AssertionError("the kernel is slower at one row")

    assert Bench(never).verifier.verify(*columns(1)).tolist() == [True]


@pytest.mark.parametrize(
    "policy", [{"audited_share": 1.5}, {"confirmations_per_s": -1}, {"confirmations_burst": -1}]
)
def test_a_policy_out_of_range_is_refused(policy: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(policy))):
        TrustPolicy(**policy)
