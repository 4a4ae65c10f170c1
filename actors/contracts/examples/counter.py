"""A counter that anybody may raise, and that remembers who raised it how often."""

from raychain import Address, Cell, Event, Table, contract, ctx, emit, entry, require, u64, view

STEP_MAX = u64(1_000)


class Counted(Event):
    """The counter went up."""

    who: Address
    by: u64


@contract
class Counter:
    """One total, and a count for everybody."""

    total: Cell[u64]
    counts: Table[Address, u64]

    @entry
    def add(self, by: u64) -> None:
        """Raise the counter by 1 to STEP_MAX."""
        require(0 < by <= STEP_MAX, "a step is 1 to 1000")
        self.total.value += by
        self.counts[ctx.sender] += by
        emit(Counted(who=ctx.sender, by=by))

    @view
    def value(self) -> u64:
        """The total."""
        return self.total.value

    @view
    def count_of(self, who: Address) -> u64:
        """How much of it came from `who`."""
        return self.counts[who]
