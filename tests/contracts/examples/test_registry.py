"""The registry: a thing has one owner, and only they change what is known of it."""

import hashlib
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from raychain import Address, CallFailedError, Hash, World

from actors.contracts.examples.registry import NOBODY, NOTHING, Passed, Record, Registry

THING, NOTE = Hash(hashlib.sha256(b"a violin").digest()), Hash(hashlib.sha256(b"its varnish").digest())


@pytest.fixture
def world() -> World:
    return World(height=5)


@pytest.fixture
def alice(world: World) -> Address:
    return world.account("alice")


@pytest.fixture
def registry(world: World) -> Any:
    return world.deploy(Registry)


def test_who_registers_a_thing_owns_it(world: World, registry: Any, alice: Address) -> None:
    registry.register(THING, NOTE, sender=alice)
    assert registry.record_of(THING) == Record(owner=alice, note=NOTE, since=5)
    assert registry.count_of(alice) == 1
    assert world.events[-1].event == Passed(THING, NOBODY, alice)
    with pytest.raises(CallFailedError, match="somebody owns it"):
        registry.register(THING, NOTE, sender=world.account("bob"))


def test_the_owner_notes_something_else(world: World, registry: Any, alice: Address) -> None:
    registry.register(THING, NOTE, sender=alice)
    world.height = 9
    registry.describe(THING, NOTHING, sender=alice)
    assert registry.record_of(THING) == Record(owner=alice, note=NOTHING, since=9)


@pytest.mark.parametrize("call", ["describe", "transfer", "release"])
def test_nobody_else_changes_it(world: World, registry: Any, alice: Address, call: str) -> None:
    bob = world.account("bob")
    registry.register(THING, NOTE, sender=alice)
    rest = {"describe": (NOTHING,), "transfer": (bob,), "release": ()}[call]
    with pytest.raises(CallFailedError, match="it is not yours"):
        getattr(registry, call)(THING, *rest, sender=bob)
    assert registry.owner_of(THING) == alice


def test_what_is_released_leaves_nothing_behind(world: World, registry: Any, alice: Address) -> None:
    registry.register(THING, NOTE, sender=alice)
    registry.release(THING, sender=alice)
    assert world.entries == {}
    registry.register(THING, NOTE, sender=world.account("bob"))


def test_nobody_is_given_nothing(registry: Any, alice: Address) -> None:
    registry.register(THING, NOTE, sender=alice)
    with pytest.raises(CallFailedError, match="release gives to nobody"):
        registry.transfer(THING, NOBODY, sender=alice)


NAMES = ("alice", "bob", "carol")
WHO = st.sampled_from(NAMES)
THINGS = st.sampled_from([Hash(bytes([number]) * 32) for number in range(1, 5)])


class RegistryMachine(RuleBasedStateMachine):
    """Any calls in any order, against a dictionary of owners."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.who = {name: self.world.account(name) for name in NAMES}
        self.registry = self.world.deploy(Registry)
        self.owners: dict[Hash, str] = {}

    def _goes_through(self, expected: bool, call: Any) -> bool:
        if expected:
            call()
        else:
            with pytest.raises(CallFailedError):
                call()
        return expected

    @rule(thing=THINGS, who=WHO)
    def register(self, thing: Hash, who: str) -> None:
        free = thing not in self.owners
        if self._goes_through(free, lambda: self.registry.register(thing, NOTE, sender=self.who[who])):
            self.owners[thing] = who

    @rule(thing=THINGS, who=WHO, to=WHO)
    def transfer(self, thing: Hash, who: str, to: str) -> None:
        mine = self.owners.get(thing) == who
        call = lambda: self.registry.transfer(thing, self.who[to], sender=self.who[who])  # noqa: E731
        if self._goes_through(mine, call):
            self.owners[thing] = to

    @rule(thing=THINGS, who=WHO)
    def release(self, thing: Hash, who: str) -> None:
        mine = self.owners.get(thing) == who
        if self._goes_through(mine, lambda: self.registry.release(thing, sender=self.who[who])):
            del self.owners[thing]

    @invariant()
    def each_thing_has_its_owner(self) -> None:
        for thing, name in self.owners.items():
            assert self.registry.owner_of(thing) == self.who[name]
        for name, who in self.who.items():
            assert self.registry.count_of(who) == list(self.owners.values()).count(name)


TestRegistryMachine = RegistryMachine.TestCase
