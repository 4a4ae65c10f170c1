"""A registry of unique things: each has one owner, who may note what it is, and give it away."""

from raychain import (
    Address,
    Event,
    Hash,
    Struct,
    Table,
    contract,
    ctx,
    emit,
    entry,
    require,
    u64,
    view,
)

NOBODY = Address("0000000000000000000000000000000000000000000000000000000000000000")
NOTHING = Hash("0000000000000000000000000000000000000000000000000000000000000000")


class Record(Struct):
    """What is known of a thing. note: the hash of a document about it; since: height of its last change."""

    owner: Address
    note: Hash
    since: u64


class Passed(Event):
    """A thing has another owner. It comes from nobody when registered, and goes to nobody when released."""

    thing: Hash
    sender: Address
    recipient: Address


class Noted(Event):
    """The owner of a thing noted something else."""

    thing: Hash
    note: Hash


@contract
class Registry:
    """Things are named by hashes, such as that of a serial number or of a title."""

    records: Table[Hash, Record]
    counts: Table[Address, u64]

    @entry
    def register(self, thing: Hash, note: Hash) -> None:
        """Own what nobody owns."""
        require(self.records[thing].owner == NOBODY, "somebody owns it")
        self.records[thing] = Record(owner=ctx.sender, note=note, since=ctx.height)
        self.counts[ctx.sender] += 1
        emit(Passed(thing=thing, sender=NOBODY, recipient=ctx.sender))

    @entry
    def describe(self, thing: Hash, note: Hash) -> None:
        """Note something else of what is yours."""
        record = self._mine(thing)
        self.records[thing] = record.replace(note=note, since=ctx.height)
        emit(Noted(thing=thing, note=note))

    @entry
    def transfer(self, thing: Hash, to: Address) -> None:
        """Give away what is yours."""
        require(to != NOBODY, "release gives to nobody")
        record = self._mine(thing)
        self.records[thing] = record.replace(owner=to, since=ctx.height)
        self.counts[ctx.sender] -= 1
        self.counts[to] += 1
        emit(Passed(thing=thing, sender=ctx.sender, recipient=to))

    @entry
    def release(self, thing: Hash) -> None:
        """Give up what is yours: anybody may register it."""
        self._mine(thing)
        self.records[thing] = Record(owner=NOBODY, note=NOTHING, since=0)
        self.counts[ctx.sender] -= 1
        emit(Passed(thing=thing, sender=ctx.sender, recipient=NOBODY))

    @view
    def owner_of(self, thing: Hash) -> Address:
        """The owner; zero if there is none."""
        return self.records[thing].owner

    @view
    def record_of(self, thing: Hash) -> Record:
        """All that is known."""
        return self.records[thing]

    @view
    def count_of(self, owner: Address) -> u64:
        """How many things are the owner's."""
        return self.counts[owner]

    def _mine(self, thing: Hash) -> Record:
        record = self.records[thing]
        require(record.owner == ctx.sender, "it is not yours")
        return record
