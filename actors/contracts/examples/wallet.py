"""A wallet of up to eight owners: its coins move when k of them have confirmed a payment."""

from raychain import (
    Address,
    Array,
    Cell,
    Event,
    Struct,
    Table,
    contract,
    ctx,
    emit,
    entry,
    init,
    require,
    send,
    u64,
    view,
)

NOBODY = Address("0000000000000000000000000000000000000000000000000000000000000000")


class Payment(Struct):
    """What an owner proposed."""

    to: Address
    amount: u64
    confirmations: u64
    paid: bool


class Proposed(Event):
    """An owner proposed a payment."""

    number: u64
    owner: Address
    to: Address
    amount: u64


class Confirmed(Event):
    """An owner confirmed a payment, or took that back."""

    number: u64
    owner: Address
    confirmations: u64


class Paid(Event):
    """A payment was made."""

    number: u64
    to: Address
    amount: u64


@contract
class Wallet:
    """Payments are numbered from 1. Who proposes one confirms it, too."""

    needed: Cell[u64]
    owners: Table[Address, bool]
    count: Cell[u64]
    payments: Table[u64, Payment]
    confirmed: Table[tuple[u64, Address], bool]

    @init(accepts_coins=True)
    def start(self, owners: Array[Address, 8], needed: u64) -> None:
        """Name the owners, zeros for those that there are not, and how many must confirm."""
        count = u64(0)
        for owner in owners:
            if owner != NOBODY:
                require(not self.owners[owner], "an owner is named twice")
                self.owners[owner] = True
                count += 1
        require(0 < needed <= count, "so many can never confirm")
        self.needed.value = needed

    @entry(accepts_coins=True)
    def deposit(self) -> None:
        """Put coins in; anybody may."""
        require(ctx.amount > 0, "no coins came along")

    @entry
    def propose(self, to: Address, amount: u64) -> u64:
        """Propose a payment, and confirm it. Gives its number."""
        require(to != NOBODY, "there is no recipient")
        require(self.owners[ctx.sender], "you are no owner")
        number = self.count.value + 1
        self.count.value = number
        self.payments[number] = Payment(to=to, amount=amount, confirmations=0, paid=False)
        emit(Proposed(number=number, owner=ctx.sender, to=to, amount=amount))
        self._confirm(number)
        return number

    @entry
    def confirm(self, number: u64) -> bool:
        """Confirm a payment. Tells whether it was made by that."""
        require(self.owners[ctx.sender], "you are no owner")
        return self._confirm(number)

    @entry
    def revoke(self, number: u64) -> None:
        """Take a confirmation back, while the payment is not made."""
        require(self.confirmed[number, ctx.sender], "you have not confirmed it")
        payment = self.payments[number]
        require(not payment.paid, "it is paid")
        self.confirmed[number, ctx.sender] = False
        confirmations = payment.confirmations - 1
        self.payments[number] = payment.replace(confirmations=confirmations)
        emit(Confirmed(number=number, owner=ctx.sender, confirmations=confirmations))

    @view
    def payment_of(self, number: u64) -> Payment:
        """A payment; zeros if there is none."""
        return self.payments[number]

    @view
    def is_owner(self, who: Address) -> bool:
        """Whether `who` may propose and confirm."""
        return self.owners[who]

    @view
    def has_confirmed(self, number: u64, who: Address) -> bool:
        """Whether `who` has confirmed a payment."""
        return self.confirmed[number, who]

    def _confirm(self, number: u64) -> bool:
        payment = self.payments[number]
        require(payment.to != NOBODY, "there is no such payment")
        require(not payment.paid, "it is paid")
        require(not self.confirmed[number, ctx.sender], "you have confirmed it")
        self.confirmed[number, ctx.sender] = True
        confirmations = payment.confirmations + 1
        pays = confirmations >= self.needed.value
        self.payments[number] = payment.replace(confirmations=confirmations, paid=pays)
        emit(Confirmed(number=number, owner=ctx.sender, confirmations=confirmations))
        if pays:
            send(payment.to, payment.amount)
            emit(Paid(number=number, to=payment.to, amount=payment.amount))
        return pays
