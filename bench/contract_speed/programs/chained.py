"""A contract whose keys depend on what it reads: a walk along links, which no plan can know."""

from raychain import Address, Table, contract, ctx, entry, u64, view


@contract
class Chained:
    """Each account links to another one, and counts who comes by."""

    links: Table[Address, Address]
    visits: Table[Address, u64]

    @entry
    def link(self, to: Address) -> None:
        """Let one's own link lead there."""
        self.links[ctx.sender] = to

    @entry
    def walk(self, start: Address) -> Address:
        """Two links on from `start`, and count the visit there."""
        at = self.links[self.links[start]]
        self.visits[at] += 1
        return at

    @view
    def visits_of(self, who: Address) -> u64:
        """How often a walk has ended there."""
        return self.visits[who]
