"""Shares leave room for who comes next; a fair queue serves who asked for least."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors import sharing
from actors.sharing import FairQueue, Shares


def greedy(shares: Shares, who: str, step: int = 1) -> int:
    """Take as much as one gets."""
    while shares.take(who, step):
        pass
    return shares.holds(who)


def test_one_alone_gets_his_share_and_leaves_the_rest() -> None:
    shares = Shares(1_000, 0.5)
    assert greedy(shares, "a") == 500
    assert greedy(shares, "b") == 250
    assert greedy(shares, "c") == 125
    assert shares.most("d") == 62
    assert shares.take("d", 60)
    assert not shares.take("a", 1)
    assert shares.most("a") < 500


def test_what_is_free_as_a_whole_may_be_taken_at_once() -> None:
    shares = Shares(100, 0.5)
    assert shares.take("a", 100)
    assert not shares.take("b", 1)
    shares.give("a", 100)
    assert shares.take("b", 1)
    assert not shares.take("a", 99)
    assert shares.take("a", 40)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 30)), max_size=60), st.sampled_from([0.25, 0.5, 0.8])
)
def test_nobody_holds_more_than_the_threshold_and_the_sum_is_right(
    wishes: list[tuple[int, int]], share: float
) -> None:
    shares, held = Shares(100, share), {str(who): 0 for who in range(5)}
    for who, amount in wishes:
        alone = not shares.held
        if shares.take(str(who), amount):
            held[str(who)] += amount
            free = 100 - sum(held.values())
            assert free >= 0
            assert alone or held[str(who)] * (1 - share) <= share * free + 0.1
        elif held[str(who)]:
            shares.give(str(who), held[str(who)])
            held[str(who)] = 0
    assert shares.held == sum(held.values())
    assert all(shares.holds(who) == amount for who, amount in held.items())


def order_of(queue: FairQueue[int], items: int) -> list[str]:
    taken = [queue.take() for _ in range(items)]
    return [turn[0] for turn in taken if turn is not None]


def test_who_asks_for_little_does_not_wait_behind_who_asks_for_much() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(100):
        queue.put("flood", number, 1_000)
    assert order_of(queue, 2) == ["flood", "flood"]
    queue.put("small", 0, 1)
    queue.put("small", 1, 1)
    assert order_of(queue, 4) == ["small", "small", "flood", "flood"]
    assert len(queue) == 96


def test_flows_that_always_wait_get_the_same_whatever_the_size_of_their_items() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(300):
        queue.put("large", number, 30)
        for _ in range(3):
            queue.put("small", number, 10)
    turns = order_of(queue, 400)
    large, small = turns.count("large") * 30, turns.count("small") * 10
    assert abs(large - small) <= 30


def test_a_paused_flow_has_no_turn_and_pays_for_what_it_takes_in_one() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(3):
        queue.put("a", number, 10)
    queue.put("b", 7, 10)
    assert queue.take() == ("a", 0)
    assert queue.next_of("a") == 1
    assert [queue.take_next_of("a"), queue.take_next_of("b"), queue.take_next_of("b")] == [1, 7, None]
    queue.put("b", 8, 10)
    assert queue.take() == ("b", 8)
    queue.pause("a")
    assert queue.take() is None
    assert len(queue) == 1
    queue.resume("a")
    assert queue.take() == ("a", 2)
    assert queue.take() is None


def test_flows_that_ended_are_forgotten() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(3 * sharing.FLOWS_KEPT_MAX):
        queue.put(f"client {number}", number, 1)
        assert queue.take() == (f"client {number}", number)
    assert len(queue._flows) <= sharing.FLOWS_KEPT_MAX + 1
