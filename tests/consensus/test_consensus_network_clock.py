"""What a member takes for the time: its own clock held against those of the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.consensus.network_clock import SAID_MS_MAX, NetworkClock
from actors.consensus.timekeeping import WARN_AGAIN_S, Timekeeper, encode_time

KEYS = [bytes([number]) * 32 for number in range(1, 8)]
NOON_MS, YEAR_MS, BOUND_MS = 1_800_000_000_000, 365 * 86_400_000, 10_000


class Hand:
    """A clock of a member whose hands a test turns."""

    def __init__(self, members: int = 3, wall_ms: int = NOON_MS) -> None:
        self.wall_ms, self.monotonic_ms = wall_ms, 1_000
        self.clock = NetworkClock(
            KEYS[:members], BOUND_MS, lambda: self.wall_ms, lambda: self.monotonic_ms * 1000
        )

    def run(self, ms: int) -> None:
        self.wall_ms += ms
        self.monotonic_ms += ms

    def others_say(self, *times_ms: int) -> None:
        for identity, time_ms in zip(KEYS[1:], times_ms, strict=False):
            self.clock.hear(identity, time_ms)


@given(
    wrong=st.lists(st.integers(0, 2**63), min_size=3, max_size=3),
    right=st.lists(st.integers(NOON_MS - 400, NOON_MS + 400), min_size=4, max_size=4),
)
def test_no_minority_of_clocks_moves_the_majoritys_out_of_the_range_of_the_right_ones(
    wrong: list[int], right: list[int]
) -> None:
    for own, others in ((right[0], [*right[1:], *wrong]), (wrong[0], [*right, *wrong[1:]])):
        hand = Hand(members=7, wall_ms=own)
        hand.others_say(*others)
        skew_ms = hand.clock.skew_ms()
        assert skew_ms is not None
        assert min(right) <= own - skew_ms <= max(right)


def test_a_wrong_clock_is_not_proposed_by_once_the_others_have_said_theirs() -> None:
    for off_ms in (YEAR_MS, -YEAR_MS, BOUND_MS, -BOUND_MS):
        hand = Hand(wall_ms=NOON_MS + off_ms)
        assert hand.clock.now_ms() == NOON_MS + off_ms
        assert hand.clock.skew_ms() is None
        hand.others_say(NOON_MS, NOON_MS)
        assert (hand.clock.now_ms(), hand.clock.skew_ms()) == (NOON_MS, off_ms)
        hand.run(300)
        assert hand.clock.now_ms() == NOON_MS + 300
    near = Hand(wall_ms=NOON_MS + BOUND_MS // 2)
    near.others_say(NOON_MS, NOON_MS)
    assert near.clock.now_ms() == NOON_MS + BOUND_MS // 2


def test_a_clock_that_jumps_after_the_others_said_theirs_is_noticed() -> None:
    hand = Hand()
    hand.others_say(NOON_MS, NOON_MS)
    hand.wall_ms += YEAR_MS
    assert hand.clock.now_ms() == NOON_MS


def test_with_one_of_two_others_away_the_earlier_clock_counts_and_old_words_do_not() -> None:
    hand = Hand(wall_ms=NOON_MS + YEAR_MS)
    hand.others_say(NOON_MS)
    assert hand.clock.now_ms() == NOON_MS
    hand.run(SAID_MS_MAX + 1)
    assert hand.clock.skew_ms() is None
    assert Hand(members=1).clock.skew_ms() == 0


def test_a_stranger_says_nothing_of_the_time() -> None:
    hand = Hand()
    hand.clock.hear(b"\x63" * 32, 0)
    assert hand.clock.skew_ms() is None


def test_a_time_ahead_is_refused_until_it_comes_and_a_repeated_one_never() -> None:
    clock = Hand().clock
    assert not clock.fault(NOON_MS + BOUND_MS, 0)
    assert clock.fault(NOON_MS + BOUND_MS + 1, 0)
    assert not clock.fault(NOON_MS + YEAR_MS, NOON_MS + YEAR_MS)
    assert not clock.fault(0, 0), "the past is its parent's affair"


def test_no_run_of_certified_blocks_carries_the_bound_ahead() -> None:
    """Each block as far ahead as it may be: the next one may not be further."""
    hand = Hand()
    time_ms = NOON_MS + BOUND_MS
    for _ in range(100):
        assert not hand.clock.fault(time_ms, time_ms - 1)
        hand.clock.certified(time_ms)
    assert hand.clock.fault(time_ms + 1, time_ms)


def test_who_is_behind_follows_what_is_certified_and_comes_back_when_its_clock_is_set() -> None:
    hand = Hand(wall_ms=NOON_MS - YEAR_MS)
    assert hand.clock.fault(NOON_MS, NOON_MS - 1)
    hand.clock.certified(NOON_MS)
    assert hand.clock.skew_ms() == -YEAR_MS
    hand.run(60_000)
    assert not hand.clock.fault(NOON_MS + 60_000, 0)
    assert hand.clock.fault(NOON_MS + 60_000 + BOUND_MS + 1, 0)
    hand.wall_ms += YEAR_MS
    assert hand.clock.skew_ms() is None
    assert hand.clock.fault(NOON_MS + 60_000 + BOUND_MS + 1, 0)


# --- telling ---------------------------------------------------------------------------------------------


class Wire:
    def __init__(self) -> None:
        self.told: list[bytes] = []

    def others(self) -> list[bytes]:
        return KEYS[1:3]

    def tell_time(self, body: bytes) -> None:
        self.told.append(body)


def test_the_log_is_told_when_a_clock_goes_wrong_seldom_while_it_lasts_and_when_it_is_over() -> None:
    hand, notes, warnings = Hand(wall_ms=NOON_MS + YEAR_MS), list[str](), list[str]()
    keeper = Timekeeper(hand.clock, Wire(), notes.append, warnings.append)
    keeper.look()
    assert (notes, warnings) == ([], [])
    for _ in range(int(WARN_AGAIN_S)):
        hand.others_say(NOON_MS, NOON_MS)
        keeper.look()
    assert warnings == ["this machine's clock is 31,536,000 s ahead of the network's: run an NTP service"]
    assert keeper.describe() == {"clock_skew_ms": YEAR_MS, "clock": warnings[0]}
    keeper.look()
    keeper.look()
    assert len(warnings) == 2
    hand.wall_ms = NOON_MS
    keeper.look()
    keeper.look()
    assert notes == ["this machine's clock agrees with that of the network again"]
    assert keeper.describe() == {"clock_skew_ms": 0, "clock": ""}


def test_what_is_malformed_or_of_nobody_that_the_configuration_names_is_dropped() -> None:
    hand = Hand(members=4, wall_ms=NOON_MS)
    keeper = Timekeeper(hand.clock, Wire(), print, print)
    right = encode_time(NOON_MS)
    for identity, body in (
        (KEYS[1], b""),
        (KEYS[1], right + b"\x00"),
        (KEYS[1], b"\x02" + right[1:]),
        (KEYS[3], right),
        (b"\x63" * 32, right),
    ):
        keeper.hear(identity, body)
    assert keeper.refused == 5
    assert hand.clock.skew_ms() is None
    keeper.hear(KEYS[1], right)
    keeper.hear(KEYS[2], encode_time(2**64 - 1))
    assert hand.clock.skew_ms() == 0
