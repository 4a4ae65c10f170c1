"""A sealed auction: bids are hashes until nobody may bid, then they are revealed, and the highest wins.

A bid brings a deposit, which must cover it, and may be larger so that it does not tell the bid.
"""

from raychain import (
    Address,
    Cell,
    Event,
    Hash,
    Struct,
    Table,
    contract,
    ctx,
    emit,
    entry,
    init,
    require,
    send,
    sha256,
    u64,
    view,
)

NOTHING = Hash("0000000000000000000000000000000000000000000000000000000000000000")


class Terms(Struct):
    """Bids before the height bids_until, reveals from then on and before reveals_until."""

    seller: Address
    bids_until: u64
    reveals_until: u64


class Bid(Struct):
    """A sealed bid; the seal is zero when the bid is revealed."""

    seal: Hash
    deposit: u64


class Best(Struct):
    """The highest bid that was revealed."""

    bidder: Address
    amount: u64


class Bidden(Event):
    """Somebody placed or changed a sealed bid."""

    bidder: Address
    deposit: u64


class Revealed(Event):
    """Somebody showed a bid."""

    bidder: Address
    amount: u64


@contract
class Auction:
    """One thing is sold: what it is, buyer and seller know."""

    terms: Cell[Terms]
    best: Cell[Best]
    bids: Table[Address, Bid]
    paid: Cell[bool]

    @init
    def start(self, bids_until: u64, reveals_until: u64) -> None:
        """Who deploys it sells."""
        require(ctx.height < bids_until < reveals_until, "these heights are not in order")
        self.terms.value = Terms(seller=ctx.sender, bids_until=bids_until, reveals_until=reveals_until)

    @entry(accepts_coins=True)
    def bid(self, seal: Hash) -> None:
        """Place a bid, or change it: seal is sha256(bidder, amount, salt). Deposits add up."""
        require(ctx.height < self.terms.value.bids_until, "the time for bids is over")
        require(seal != NOTHING, "there is no seal")
        deposit = self.bids[ctx.sender].deposit + ctx.amount
        self.bids[ctx.sender] = Bid(seal=seal, deposit=deposit)
        emit(Bidden(bidder=ctx.sender, deposit=deposit))

    @entry
    def reveal(self, amount: u64, salt: Hash) -> bool:
        """Show your bid. Tells whether it is the highest now; of equal ones the first is."""
        terms = self.terms.value
        require(terms.bids_until <= ctx.height < terms.reveals_until, "this is not the time to reveal")
        mine = self.bids[ctx.sender]
        require(mine.seal == sha256(ctx.sender, amount, salt), "this is not what was sealed")
        require(0 < amount <= mine.deposit, "the deposit does not cover it")
        self.bids[ctx.sender] = mine.replace(seal=NOTHING)
        leads = amount > self.best.value.amount
        if leads:
            self.best.value = Best(bidder=ctx.sender, amount=amount)
        emit(Revealed(bidder=ctx.sender, amount=amount))
        return leads

    @entry
    def withdraw(self) -> u64:
        """Have the deposit back when all is over; who won, without the price."""
        require(ctx.height >= self.terms.value.reveals_until, "the auction is not over")
        back = self.bids[ctx.sender].deposit
        require(back > 0, "there is no deposit of yours")
        self.bids[ctx.sender] = Bid(seal=NOTHING, deposit=0)
        if ctx.sender == self.best.value.bidder:
            back -= self.best.value.amount
        send(ctx.sender, back)
        return back

    @entry
    def settle(self) -> u64:
        """The price goes to the seller, once, whoever asks for it."""
        require(ctx.height >= self.terms.value.reveals_until, "the auction is not over")
        require(not self.paid.value, "the seller has the price")
        self.paid.value = True
        price = self.best.value.amount
        send(self.terms.value.seller, price)
        return price

    @view
    def leader(self) -> Best:
        """The highest bid so far; zeros if there is none."""
        return self.best.value

    @view
    def bid_of(self, who: Address) -> Bid:
        """The sealed bid and the deposit of `who`."""
        return self.bids[who]
