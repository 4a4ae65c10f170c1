"""A token: balances, and allowances that let another account or contract transfer."""

from raychain import Address, Cell, Event, Table, contract, ctx, emit, entry, init, require, u64, view


class Transfer(Event):
    """Units went from one to another. Those that are made at deployment come from the contract."""

    sender: Address
    recipient: Address
    amount: u64


class Approval(Event):
    """The spender may transfer so much of what the owner has."""

    owner: Address
    spender: Address
    amount: u64


@contract
class Token:
    """All units are made at deployment and belong to who deploys; nobody makes more."""

    supply: Cell[u64]
    balances: Table[Address, u64]
    allowances: Table[tuple[Address, Address], u64]

    @init
    def start(self, supply: u64) -> None:
        """Make all units."""
        self.supply.value = supply
        self.balances[ctx.sender] = supply
        emit(Transfer(sender=ctx.contract, recipient=ctx.sender, amount=supply))

    @entry
    def transfer(self, to: Address, amount: u64) -> bool:
        """Give units to `to`."""
        self._move(ctx.sender, to, amount)
        return True

    @entry
    def approve(self, spender: Address, amount: u64) -> bool:
        """Let `spender` transfer up to `amount`, whatever it was before."""
        self.allowances[ctx.sender, spender] = amount
        emit(Approval(owner=ctx.sender, spender=spender, amount=amount))
        return True

    @entry
    def transfer_from(self, owner: Address, to: Address, amount: u64) -> bool:
        """Give units of `owner` to `to`, out of the allowance."""
        allowed = self.allowances[owner, ctx.sender]
        require(amount <= allowed, "more than the allowance")
        self.allowances[owner, ctx.sender] = allowed - amount
        self._move(owner, to, amount)
        return True

    @view
    def total_supply(self) -> u64:
        """All units."""
        return self.supply.value

    @view
    def balance_of(self, who: Address) -> u64:
        """What `who` has."""
        return self.balances[who]

    @view
    def allowance(self, owner: Address, spender: Address) -> u64:
        """What `spender` may still transfer of what `owner` has."""
        return self.allowances[owner, spender]

    def _move(self, sender: Address, to: Address, amount: u64) -> None:
        have = self.balances[sender]
        require(amount <= have, "more than the balance")
        self.balances[sender] = have - amount
        self.balances[to] += amount
        emit(Transfer(sender=sender, recipient=to, amount=amount))
