"""The counter: what it counts, whom it remembers, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raychain import CallFailedError, Failure, World

from actors.contracts.examples.counter import Counted, Counter


def test_it_counts_and_remembers_who() -> None:
    world = World()
    alice, bob = world.account("alice"), world.account("bob")
    counter = world.deploy(Counter)
    counter.add(3, sender=alice)
    counter.add(4, sender=bob)
    counter.add(1_000, sender=alice)
    assert (counter.value(), counter.count_of(alice), counter.count_of(bob)) == (1_007, 1_003, 4)
    assert world.events[-1].event == Counted(who=alice, by=1_000)


@pytest.mark.parametrize("step", [0, 1_001, 2**64 - 1])
def test_it_refuses_other_steps(step: int) -> None:
    world = World()
    alice = world.account("alice")
    counter = world.deploy(Counter)
    with pytest.raises(CallFailedError, match="a step is 1 to 1000") as failed:
        counter.add(step, sender=alice)
    assert failed.value.failure is Failure.REQUIREMENT
    assert counter.value() == 0
    assert world.entries == {}


@given(st.lists(st.tuples(st.sampled_from(["alice", "bob", "carol"]), st.integers(1, 1_000))))
def test_the_total_is_the_sum_of_all_counts(steps: list[tuple[str, int]]) -> None:
    world = World()
    counter = world.deploy(Counter)
    for name, by in steps:
        counter.add(by, sender=world.account(name))
    for name in ("alice", "bob", "carol"):
        assert counter.count_of(world.account(name)) == sum(by for who, by in steps if who == name)
    assert counter.value() == sum(by for _, by in steps)
    assert [(each.event.who, each.event.by) for each in world.events] == [
        (world.account(name), by) for name, by in steps
    ]
