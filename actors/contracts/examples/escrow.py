"""An escrow: coins that a buyer leaves for a seller, until the buyer releases them or a deadline passes."""

from raychain import Address, Event, Struct, Table, contract, ctx, emit, entry, require, send, u64, view

NOBODY = Address("0000000000000000000000000000000000000000000000000000000000000000")


class Deal(Struct):
    """What waits for a seller. deadline: the height from which on it goes back."""

    seller: Address
    amount: u64
    deadline: u64


class Opened(Event):
    """A buyer left coins."""

    seller: Address
    buyer: Address
    number: u64
    amount: u64
    deadline: u64


class Closed(Event):
    """The coins of a deal went to the recipient: the seller, or the buyer again."""

    recipient: Address
    buyer: Address
    number: u64
    amount: u64


@contract
class Escrow:
    """Each buyer numbers deals as they like; a number is free again when its deal is closed."""

    deals: Table[tuple[Address, u64], Deal]

    @entry(accepts_coins=True)
    def open(self, number: u64, seller: Address, deadline: u64) -> None:
        """Leave the coins that come with the call."""
        require(ctx.amount > 0, "no coins came along")
        require(seller != NOBODY, "there is no seller")
        require(deadline > ctx.height, "the deadline has passed")
        require(self.deals[ctx.sender, number].amount == 0, "this number is taken")
        self.deals[ctx.sender, number] = Deal(seller=seller, amount=ctx.amount, deadline=deadline)
        emit(Opened(seller=seller, buyer=ctx.sender, number=number, amount=ctx.amount, deadline=deadline))

    @entry
    def release(self, number: u64) -> None:
        """The buyer pays the seller, before the deadline or after it."""
        deal = self._open_deal(ctx.sender, number)
        self._close(ctx.sender, number, deal.seller)

    @entry
    def refund(self, buyer: Address, number: u64) -> None:
        """The buyer has the coins back: by the seller at any time, by anybody from the deadline on."""
        deal = self._open_deal(buyer, number)
        late = ctx.height >= deal.deadline
        require(late or ctx.sender == deal.seller, "the deadline has not passed")
        self._close(buyer, number, buyer)

    @view
    def deal_of(self, buyer: Address, number: u64) -> Deal:
        """What waits; zeros if nothing does."""
        return self.deals[buyer, number]

    def _open_deal(self, buyer: Address, number: u64) -> Deal:
        deal = self.deals[buyer, number]
        require(deal.amount > 0, "there is no such deal")
        return deal

    def _close(self, buyer: Address, number: u64, recipient: Address) -> None:
        amount = self.deals[buyer, number].amount
        self.deals[buyer, number] = Deal(seller=NOBODY, amount=0, deadline=0)
        send(recipient, amount)
        emit(Closed(recipient=recipient, buyer=buyer, number=number, amount=amount))
