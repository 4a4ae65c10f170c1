"""The yardstick `pyrevm`: an EVM in Rust (revm), which runs a token's transfers and swaps of an exchange.

Each call crosses from Python to Rust and back, as its library offers it; what a call costs that does nothing
stands beside the others. No block is ever closed, no root computed, no signature looked at. Accounts, amounts
and rules are those of the workloads; each of the PAIRS exchanges, and its token, is a contract of its own.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench.contract_speed.evm_code import (
    APPROVE,
    BALANCE_OF,
    BUY,
    SELL,
    TRANSFER,
    call_data,
    exchange_creation,
    token_creation,
)
from bench.contract_speed.workloads import CAST_MAX, COINS, PAIRS, RESERVE, TOKENS

SUPPLY = 1 << 62
_DEPLOYER = "0x" + "11" * 20
_COINS = 1 << 60


class EvmCall(NamedTuple):
    """As pyrevm takes it."""

    caller: str
    to: str
    data: bytes
    coins: int = 0


class Evm:
    """An EVM with a token."""

    def __init__(self) -> None:
        self._pyrevm = importlib.import_module("pyrevm")
        self._evm = self._pyrevm.EVM()
        self._evm.set_balance(_DEPLOYER, _COINS)

    def token(self) -> str:
        """The address of a new token, all of which the deployer has."""
        return str(self._evm.deploy(_DEPLOYER, token_creation(SUPPLY)))

    def exchange(self, token: str) -> str:
        """The address of a new exchange with reserves."""
        creation = exchange_creation(bytes.fromhex(token[2:]), RESERVE, RESERVE)
        exchange = str(self._evm.deploy(_DEPLOYER, creation, value=RESERVE))
        self.give(token, exchange, RESERVE)
        return exchange

    def give(self, token: str, to: str, amount: int) -> None:
        """Tokens of the deployer."""
        self._evm.message_call(_DEPLOYER, token, calldata=call_data(TRANSFER, word_of(to), amount))

    def fund(self, who: str) -> None:
        """Coins."""
        self._evm.set_balance(who, _COINS)

    def tokens_of(self, token: str, who: str) -> int:
        """What `who` has of a token."""
        answer = self._evm.message_call(_DEPLOYER, token, calldata=call_data(BALANCE_OF, word_of(who)))
        return int.from_bytes(answer, "big")

    def coins_of(self, who: str) -> int:
        """What `who` has of coins."""
        return int(self._evm.get_balance(who))

    def run(self, calls: list[EvmCall]) -> float:
        """Calls a second. Raises RuntimeError if one is reverted."""
        evm, began = self._evm, time.perf_counter()
        for caller, to, data, coins in calls:
            evm.message_call(caller, to, calldata=data, value=coins)
        return len(calls) / (time.perf_counter() - began)


def word_of(address: str) -> int:
    """An address as an argument."""
    return int(address, 16)


def pyrevm_missing() -> str:
    """Why there is no pyrevm, or nothing."""
    try:
        importlib.import_module("pyrevm")
    except ImportError as error:
        return f"{error}: it has wheels for x86_64 and Python up to 3.12; `uv sync` installs it there"
    return ""


def addresses(count: int) -> list[str]:
    """Of accounts."""
    drawn = np.random.default_rng(3).integers(0, 256, (count, 20), dtype=np.uint8)
    return ["0x" + each.tobytes().hex() for each in drawn]


def erc20_transfers_per_s(accounts: int, calls: int) -> float:
    """Between accounts drawn evenly, all of which have tokens."""
    evm, who, chance = Evm(), addresses(accounts), np.random.default_rng(4)
    token = evm.token()
    evm.run([EvmCall(_DEPLOYER, token, call_data(TRANSFER, word_of(each), TOKENS)) for each in who])
    made = [
        EvmCall(who[sender], token, call_data(TRANSFER, word_of(who[recipient]), 3))
        for sender, recipient in chance.integers(0, accounts, (calls, 2)).tolist()
    ]
    return evm.run(made)


def swaps_per_s(accounts: int, calls: int) -> float:
    """Coins for tokens by half of the traders, and tokens for coins by the others."""
    evm, who, chance = Evm(), addresses(min(accounts, CAST_MAX)), np.random.default_rng(5)
    tokens = [evm.token() for _ in range(PAIRS)]
    exchanges = [evm.exchange(token) for token in tokens]
    for number, each in enumerate(who):
        token, exchange = tokens[number % PAIRS], exchanges[number % PAIRS]
        evm.fund(each)
        evm.give(token, each, TOKENS)
        evm.run([EvmCall(each, token, call_data(APPROVE, word_of(exchange), SUPPLY))])
    made = [
        swap(who[number], exchanges[number % PAIRS], number // PAIRS % 2 == 0)
        for number in chance.integers(0, len(who), calls).tolist()
    ]
    return evm.run(made)


def swap(who: str, exchange: str, buys: bool) -> EvmCall:
    """Of COINS coins, or of as many tokens."""
    if buys:
        return EvmCall(who, exchange, call_data(BUY), COINS)
    return EvmCall(who, exchange, call_data(SELL, COINS))


def empty_calls_per_s(calls: int) -> float:
    """Of an account without code."""
    caller, to = addresses(2)
    return Evm().run([EvmCall(caller, to, call_data(TRANSFER, word_of(to), 3))] * calls)


def measure_pyrevm(accounts: int, calls: int) -> dict[str, Any]:
    """`erc20_transfers_per_s`, `swaps_per_s` and `empty_calls_per_s`; where there is no pyrevm, None of each,
    and `why`."""
    measures: dict[str, Callable[[], float]] = {
        "erc20_transfers_per_s": lambda: erc20_transfers_per_s(accounts, calls),
        "swaps_per_s": lambda: swaps_per_s(accounts, calls),
        "empty_calls_per_s": lambda: empty_calls_per_s(calls),
    }
    if why := pyrevm_missing():
        return {**dict.fromkeys(measures), "why": why}
    return {**{name: round(measure()) for name, measure in measures.items()}, "why": ""}
