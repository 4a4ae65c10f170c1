"""An exchange of coins against a token, whose price keeps the product of its two reserves from falling.

The rule is Uniswap v2's, with a fee of 30 basis points that stays in the reserves. Amounts up to 2^59 never
overflow; above, a call may fail.
"""

from raychain import (
    Address,
    Cell,
    Event,
    Table,
    contract,
    ctx,
    emit,
    entry,
    interface,
    require,
    send,
    u64,
    u128,
    view,
)

LOCKED = u64(1_000)  # shares that are nobody's: one share stays cheap, and the reserves are never empty again


@interface("746f6b656e000000000000000000000000000000000000000000000000000000")
class Token:
    """The token, where it is deployed: put its address above."""

    @entry
    def transfer(self, to: Address, amount: u64) -> bool: ...

    @entry
    def transfer_from(self, owner: Address, to: Address, amount: u64) -> bool: ...


class Swapped(Event):
    """Somebody gave one for the other: of coins and tokens in, one is zero, and of those out the other."""

    trader: Address
    coins_in: u64
    tokens_in: u64
    coins_out: u64
    tokens_out: u64


class Provided(Event):
    """Somebody added to the reserves, and has so many shares more."""

    provider: Address
    coins: u64
    tokens: u64
    shares: u64


class Withdrawn(Event):
    """Somebody gave up shares, and has a part of the reserves."""

    provider: Address
    coins: u64
    tokens: u64
    shares: u64


@contract
class Exchange:
    """Reserves of coins and tokens belong to those who provided them, in shares."""

    coins: Cell[u64]
    tokens: Cell[u64]
    total: Cell[u64]
    shares: Table[Address, u64]

    @entry(accepts_coins=True)
    def provide(self, tokens_max: u64, shares_min: u64) -> u64:
        """Add coins, and tokens in proportion out of an allowance, for shares; the first sets the price."""
        total = self.total.value
        tokens = tokens_max
        minted = ctx.amount
        if total == 0:
            require(minted > LOCKED, "too few coins to begin with")
            require(tokens > 0, "no tokens")
            self.total.value = minted
            minted -= LOCKED
        else:
            coins = u128(self.coins.value)
            tokens = u64(u128(ctx.amount) * u128(self.tokens.value) // coins + 1)
            minted = u64(u128(ctx.amount) * u128(total) // coins)
            require(tokens <= tokens_max, "more tokens than allowed")
            self.total.value = total + minted
        require(minted > 0 and minted >= shares_min, "fewer shares than asked for")
        self.coins.value += ctx.amount
        self.tokens.value += tokens
        self.shares[ctx.sender] += minted
        require(Token.transfer_from(ctx.sender, ctx.contract, tokens), "the token did not move")
        emit(Provided(provider=ctx.sender, coins=ctx.amount, tokens=tokens, shares=minted))
        return minted

    @entry
    def withdraw(self, shares: u64, coins_min: u64, tokens_min: u64) -> tuple[u64, u64]:
        """Give up shares for their part of coins and tokens."""
        require(0 < shares <= self.shares[ctx.sender], "more than your shares")
        total = u128(self.total.value)
        coins = u64(u128(shares) * u128(self.coins.value) // total)
        tokens = u64(u128(shares) * u128(self.tokens.value) // total)
        require(coins >= coins_min and tokens >= tokens_min, "less than asked for")
        self.shares[ctx.sender] -= shares
        self.total.value -= shares
        self.coins.value -= coins
        self.tokens.value -= tokens
        send(ctx.sender, coins)
        require(Token.transfer(ctx.sender, tokens), "the token did not move")
        emit(Withdrawn(provider=ctx.sender, coins=coins, tokens=tokens, shares=shares))
        return coins, tokens

    @entry(accepts_coins=True)
    def buy(self, tokens_min: u64) -> u64:
        """Give coins, get tokens."""
        bought = self._amount_out(ctx.amount, self.coins.value, self.tokens.value)
        require(bought > 0 and bought >= tokens_min, "less than asked for")
        self.coins.value += ctx.amount
        self.tokens.value -= bought
        require(Token.transfer(ctx.sender, bought), "the token did not move")
        emit(Swapped(trader=ctx.sender, coins_in=ctx.amount, tokens_in=0, coins_out=0, tokens_out=bought))
        return bought

    @entry
    def sell(self, tokens: u64, coins_min: u64) -> u64:
        """Give tokens out of an allowance, get coins."""
        paid = self._amount_out(tokens, self.tokens.value, self.coins.value)
        require(paid > 0 and paid >= coins_min, "less than asked for")
        self.tokens.value += tokens
        self.coins.value -= paid
        require(Token.transfer_from(ctx.sender, ctx.contract, tokens), "the token did not move")
        send(ctx.sender, paid)
        emit(Swapped(trader=ctx.sender, coins_in=0, tokens_in=tokens, coins_out=paid, tokens_out=0))
        return paid

    @view
    def amount_out(self, amount_in: u64, reserve_in: u64, reserve_out: u64) -> u64:
        """What a swap gives at such reserves."""
        return self._amount_out(amount_in, reserve_in, reserve_out)

    @view
    def reserves(self) -> tuple[u64, u64]:
        """Coins and tokens."""
        return self.coins.value, self.tokens.value

    @view
    def shares_of(self, who: Address) -> u64:
        """Of all shares, those of `who`."""
        return self.shares[who]

    @view
    def total_shares(self) -> u64:
        """All shares, those that are nobody's among them."""
        return self.total.value

    def _amount_out(self, amount_in: u64, reserve_in: u64, reserve_out: u64) -> u64:
        require(amount_in > 0, "nothing comes in")
        require(reserve_in > 0 and reserve_out > 0, "the reserves are empty")
        taken = u128(amount_in) * 997
        return u64(taken * u128(reserve_out) // (u128(reserve_in) * 1000 + taken))
