"""The EVM's yardstick: what its token and its exchange do is what ours do, by the balances after them."""

from __future__ import annotations

import pytest

from bench.contract_speed.evm_calls import Evm, EvmCall, addresses, pyrevm_missing, swap, word_of
from bench.contract_speed.evm_code import APPROVE, TRANSFER, TRANSFER_FROM, assemble, call_data
from bench.contract_speed.workloads import COINS, RESERVE

needs_pyrevm = pytest.mark.skipif(bool(pyrevm_missing()), reason="pyrevm is not installed")
ALICE, BOB, CAROL = addresses(3)


def amount_out(amount_in: int, reserve_in: int, reserve_out: int) -> int:
    """The rule of actors/contracts/examples/exchange.py."""
    taken = amount_in * 997
    return taken * reserve_out // (reserve_in * 1000 + taken)


def test_what_the_assembler_makes() -> None:
    assert assemble("0 CALLDATALOAD @end JUMP 0x1234 POP end: STOP").hex() == "5f3561000a56611234505b00"


@pytest.mark.parametrize(
    ("text", "told"), [("0 NOTHING", "NOTHING is no opcode"), ("@end JUMP", "@end leads nowhere")]
)
def test_what_cannot_be_assembled(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        assemble(text)


@needs_pyrevm
def test_a_transfer_moves_tokens_and_no_more_than_there_are() -> None:
    evm = Evm()
    token = evm.token()
    evm.give(token, ALICE, 1_000)
    evm.run([EvmCall(ALICE, token, call_data(TRANSFER, word_of(BOB), 300))])
    evm.run([EvmCall(BOB, token, call_data(TRANSFER, word_of(BOB), 300))])
    assert (evm.tokens_of(token, ALICE), evm.tokens_of(token, BOB)) == (700, 300)
    with pytest.raises(RuntimeError, match="Revert"):
        evm.run([EvmCall(ALICE, token, call_data(TRANSFER, word_of(BOB), 701))])
    assert evm.tokens_of(token, ALICE) == 700


@needs_pyrevm
def test_an_allowance_is_used_up() -> None:
    evm = Evm()
    token = evm.token()
    evm.give(token, ALICE, 1_000)
    taken = EvmCall(BOB, token, call_data(TRANSFER_FROM, word_of(ALICE), word_of(CAROL), 60))
    with pytest.raises(RuntimeError, match="Revert"):
        evm.run([taken])
    evm.run([EvmCall(ALICE, token, call_data(APPROVE, word_of(BOB), 100)), taken])
    assert (evm.tokens_of(token, ALICE), evm.tokens_of(token, CAROL)) == (940, 60)
    with pytest.raises(RuntimeError, match="Revert"):
        evm.run([taken])


@needs_pyrevm
def test_swaps_follow_the_rule_of_the_example() -> None:
    evm = Evm()
    token = evm.token()
    exchange = evm.exchange(token)
    evm.fund(ALICE)
    before = evm.coins_of(ALICE)
    evm.run([swap(ALICE, exchange, buys=True)])
    bought = amount_out(COINS, RESERVE, RESERVE)
    assert evm.tokens_of(token, ALICE) == bought
    assert evm.coins_of(ALICE) == before - COINS
    evm.give(token, ALICE, COINS)
    evm.run([EvmCall(ALICE, token, call_data(APPROVE, word_of(exchange), COINS))])
    evm.run([swap(ALICE, exchange, buys=False)])
    paid = amount_out(COINS, RESERVE - bought, RESERVE + COINS)
    assert evm.coins_of(ALICE) == before - COINS + paid
    assert evm.tokens_of(token, ALICE) == bought
    assert evm.tokens_of(token, exchange) == RESERVE - bought + COINS
    assert evm.coins_of(exchange) == RESERVE + COINS - paid
