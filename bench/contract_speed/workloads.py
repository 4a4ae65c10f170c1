"""What is measured of contracts, each a stream of calls on contracts of its own.

token     transfers of a token between accounts drawn evenly
exchange  coins for tokens and tokens for coins, on PAIRS exchanges with a token each
heavy     200 hashes a call, each caller with an entry of its own
hot       transfers of a token to one account: every call needs the one before
chained   a walk along links: which entries are touched depends on what is read
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import Batch
from bench.contract_speed.deployed import (
    DEPLOYER,
    SUPPLY,
    CallMaker,
    Deployed,
    Draw,
    measured_program,
    numbers,
    part_of,
)
from bench.contract_workload import mixed

PAIRS = 8
CAST_MAX = 10_000
"""Accounts that trade, or have links."""
HEAVY_SHARE = 10
"""A block of heavy calls has so many times fewer rows."""
TOKENS, COINS, RESERVE = 1 << 32, 1_000, 1 << 26


class Workload(NamedTuple):
    """opening: blocks that come first, each of so many rows at most, and then how its blocks are drawn."""

    name: str
    opening: Callable[[CallMaker, np.random.Generator], tuple[Iterator[Batch], Draw]]
    fewer: int = 1


def _token(maker: CallMaker, chance: np.random.Generator) -> tuple[Iterator[Batch], Draw]:
    token, count = maker.deploy_example("token", SUPPLY), len(maker.keys)

    def draw(rows: int) -> Batch:
        return _transfers(maker, token, chance, chance.integers(count, size=rows))

    return _opening(maker, _spread(maker, token, np.arange(1, count))), draw


def _hot(maker: CallMaker, chance: np.random.Generator) -> tuple[Iterator[Batch], Draw]:
    token, cast = maker.deploy_example("token", SUPPLY), _cast(maker)

    def draw(rows: int) -> Batch:
        return _transfers(maker, token, chance, np.full(rows, 1), senders=cast)

    return _opening(maker, _spread(maker, token, np.arange(1, cast))), draw


def _heavy(maker: CallMaker, chance: np.random.Generator) -> tuple[Iterator[Batch], Draw]:
    chains = maker.deploy(measured_program("hash_chain"))

    def draw(rows: int) -> Batch:
        who = chance.integers(1, len(maker.keys), rows)
        return maker.calls(chains, "run", who, [chance.integers(0, 256, (rows, 32), np.uint8)])

    return _opening(maker, iter(())), draw


def _chained(maker: CallMaker, chance: np.random.Generator) -> tuple[Iterator[Batch], Draw]:
    chained, cast = maker.deploy(measured_program("chained")), _cast(maker)

    def links() -> Iterator[Batch]:
        yield maker.calls(chained, "link", np.arange(cast), [maker.keys[chance.permutation(cast)]])

    def draw(rows: int) -> Batch:
        starts = maker.keys[chance.integers(cast, size=rows)]
        return maker.calls(chained, "walk", chance.integers(1, len(maker.keys), rows), [starts])

    return _opening(maker, links()), draw


def _exchange(maker: CallMaker, chance: np.random.Generator) -> tuple[Iterator[Batch], Draw]:
    tokens = [maker.deploy_example("token", SUPPLY) for _ in range(PAIRS)]
    exchanges = [maker.deploy_example("exchange", token=token.address) for token in tokens]
    places = np.frombuffer(b"".join(each.address for each in exchanges), dtype=np.uint8).reshape(-1, 32)
    cast = _cast(maker)

    def opening() -> Iterator[Batch]:
        for pair, (token, exchange) in enumerate(zip(tokens, exchanges, strict=True)):
            traders, first = np.arange(1 + pair, cast, PAIRS), np.array([DEPLOYER])
            who = np.append(first, traders)
            spenders = _each(exchange.address, len(who))
            yield maker.calls(token, "approve", who, [spenders, numbers(SUPPLY, len(who))])
            yield maker.calls(exchange, "provide", first, [numbers(RESERVE, 1), numbers(0, 1)], RESERVE)
            yield from _spread(maker, token, traders)

    def draw(rows: int) -> Batch:
        who = chance.integers(1, cast, rows)
        at, buys = places[(who - 1) % PAIRS], (who - 1) // PAIRS % 2 == 0
        buyers, sellers = who[buys], who[~buys]
        zero = numbers(0, len(buyers))
        bought = maker.calls(exchanges[0], "buy", buyers, [zero], COINS, at[buys])
        sold = [numbers(COINS, len(sellers)), numbers(0, len(sellers))]
        return mixed(bought, maker.calls(exchanges[0], "sell", sellers, sold, at=at[~buys]), chance)

    return _opening(maker, opening()), draw


WORKLOADS = (
    Workload("token", _token),
    Workload("exchange", _exchange),
    Workload("heavy", _heavy, HEAVY_SHARE),
    Workload("hot", _hot),
    Workload("chained", _chained),
)


def _opening(maker: CallMaker, calls: Iterator[Batch]) -> Iterator[Batch]:
    yield maker.deployments()
    for batch in calls:
        for start in range(0, len(batch), maker.rows_max):
            yield part_of(batch, start, start + maker.rows_max)


def _cast(maker: CallMaker) -> int:
    return min(len(maker.keys), CAST_MAX)


def _spread(maker: CallMaker, token: Deployed, holders: NDArray[np.int64]) -> Iterator[Batch]:
    """Calls with which the deployer gives tokens to all of these."""
    for part in np.array_split(holders, max(len(holders) // maker.rows_max, 1)):
        who, amounts = np.full(len(part), DEPLOYER), numbers(TOKENS, len(part))
        yield maker.calls(token, "transfer", who, [maker.keys[part], amounts])


def _transfers(
    maker: CallMaker,
    token: Deployed,
    chance: np.random.Generator,
    recipients: NDArray[np.int64],
    senders: int = 0,
) -> Batch:
    rows = len(recipients)
    who = chance.integers(1, senders or len(maker.keys), rows)
    amounts = numbers(chance.integers(1, 20, rows, dtype=np.uint64), rows)
    return maker.calls(token, "transfer", who, [maker.keys[recipients], amounts])


def _each(value: bytes, count: int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.frombuffer(value, dtype=np.uint8), (count, len(value)))
