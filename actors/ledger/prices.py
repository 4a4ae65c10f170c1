"""What state and transactions cost, as the genesis says, and why a nonce never comes twice.

Rules
1. A transaction offers at least `fee_min`.
2. An account exists while its balance is above zero. One that is emptied is removed, nonce and all.
3. A transfer to an account that does not exist carries at least `balance_min`: the deposit of an account is
   its balance, and comes back whole when it is emptied.
4. A transfer leaves its sender either nothing or at least `balance_min`. Nothing is burned, so the supply is
   what it was.
5. Fees go to the proposer whatever they add up to, and make its account if there is none: only those who
   propose can have an account of less than `balance_min`.
6. An account that comes to be in the block at height h begins with the nonce h * 2^NONCE_HEIGHT_BITS, or, if
   the same key had one in that block already, with the next that it has not used. Accounts of the genesis
   begin with 0.

7. A transaction of a contract offers the most that it may cost: `fee_min`, its gas, and deposits of the
   entries that it makes. It pays what it has used; the rest stays with its sender, who has to keep
   `balance_min` whatever it costs. Its gas is limited by what it offers, and by what is left of
   `block_gas_max`.
Why rule 6 suffices: a block has at most B = 2^(NONCE_HEIGHT_BITS - 1) rows, so after the block at height h no
account's next nonce exceeds h * 2^NONCE_HEIGHT_BITS + B: an account that was there before the block had at
most (h - 1) * 2^NONCE_HEIGHT_BITS + B, and gains at most B. Whatever is made at a later height begins above
that. So a signed row is valid at most once, however often its sender is emptied and made again. Nonces stay
below 2^53, and so exact in JavaScript, up to height 2^33.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.contracts.gas import WEIGHTS, Weights

NONCE_HEIGHT_BITS = 20
BLOCK_TRANSACTIONS_MAX = 1 << (NONCE_HEIGHT_BITS - 1)
PRICE_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Prices:
    """In smallest units: the least fee, 0 .. PRICE_MAX, and the least balance, 1 .. PRICE_MAX.

    gas_per_unit: gas that one smallest unit of a fee buys. entry_deposit: of each entry that a call makes;
    it comes back to whoever removes one. block_gas_max: of all calls of a block. weights: of operations.
    """

    fee_min: int
    balance_min: int
    gas_per_unit: int = 100
    entry_deposit: int = 1
    block_gas_max: int = 1_000_000
    weights: Weights = WEIGHTS


FREE = Prices(0, 1)
"""No fee, and accounts of one smallest unit."""


def first_nonce(height: int) -> int:
    """The nonce with which an account begins that comes to be in the block at this height."""
    return height << NONCE_HEIGHT_BITS
