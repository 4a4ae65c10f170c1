"""Calls of the example contracts as columns: what rows of a load or of a torture carry.

Whoever draws them keeps no account of what contracts hold, so that some calls fail, as those of people do: a
thing is registered by who has it already, tokens are sold before the exchange may take them. Now and then a
row deploys a counter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.ledger.contract_payloads import contract_address
from actors.ledger.hashing import Hasher, sha256, sha256_rows
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY
from bench.contract_examples import Catalog, call_fee, deploy_fee, example_program

Columns = list[NDArray[np.uint8]]
THINGS, DEALS = 4, 4
COINS_OF_BUY, COINS_OF_DEAL = 1_000, 10
_FAR_HEIGHT = 1 << 40


class CallDraw(NamedTuple):
    """What arguments are drawn from. senders, others: (n, 32) uint8 keys."""

    senders: NDArray[np.uint8]
    others: NDArray[np.uint8]
    exchange: bytes
    chance: np.random.Generator

    def numbers(self, low: int, high: int) -> NDArray[np.uint8]:
        """(n, 8) a u64 from low to high for each row."""
        drawn = self.chance.integers(low, high, len(self.senders), dtype=np.uint64, endpoint=True)
        return drawn.view(np.uint8).reshape(-1, 8)

    def things(self) -> NDArray[np.uint8]:
        """(n, 32) one of THINGS that are each sender's own."""
        named = self.senders.copy()
        named[:, 0] ^= self.chance.integers(THINGS, size=len(named), dtype=np.uint8)
        return named

    def each(self, value: bytes) -> NDArray[np.uint8]:
        """(n, len) the same in all rows."""
        return np.tile(np.frombuffer(value, dtype=np.uint8), (len(self.senders), 1))


class CallShape(NamedTuple):
    """A call that is drawn. share: of all, in parts of what they add up to. coins: that come along."""

    contract: str
    function: str
    share: int
    arguments: Callable[[CallDraw], Columns]
    coins: int = 0


SHAPES = (
    CallShape("counter", "add", 25, lambda draw: [draw.numbers(1, 1_000)]),
    CallShape("counter", "count_of", 3, lambda draw: [draw.others]),
    CallShape("token", "transfer", 20, lambda draw: [draw.others, draw.numbers(1, 20)]),
    CallShape("token", "approve", 5, lambda draw: [draw.each(draw.exchange), draw.numbers(1, 1 << 30)]),
    CallShape("exchange", "buy", 12, lambda draw: [draw.numbers(0, 0)], COINS_OF_BUY),
    CallShape("exchange", "sell", 8, lambda draw: [draw.numbers(1, 200), draw.numbers(0, 0)]),
    CallShape("registry", "register", 10, lambda draw: [draw.things(), draw.others]),
    CallShape("registry", "release", 7, lambda draw: [draw.things()]),
    CallShape(
        "escrow",
        "open",
        6,
        lambda draw: [draw.numbers(1, DEALS), draw.others, draw.numbers(_FAR_HEIGHT, _FAR_HEIGHT)],
        COINS_OF_DEAL,
    ),
    CallShape("escrow", "release", 4, lambda draw: [draw.numbers(1, DEALS)]),
)


_SHARES = np.array([shape.share for shape in SHAPES]) / sum(shape.share for shape in SHAPES)
_CALL_BYTES_MAX = 1 + 32 + 32 + 8
_DEPLOYED = "counter"


class CallFiller:
    """Makes calls of rows that have sender and nonce, and deployments of a share of them.

    keys: (m, 32) uint8, accounts that calls name.
    """

    def __init__(
        self,
        catalog: Catalog,
        keys: NDArray[np.uint8],
        chance: np.random.Generator,
        deploy_share: float = 0.0,
        hash_rows: Hasher = sha256_rows,
    ) -> None:
        self._catalog, self._keys, self._chance = catalog, keys, chance
        self._deploy_share, self._hash_rows = deploy_share, hash_rows

    def fill(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """The payloads, joined. Rows are signed afterwards."""
        drawn = self._chance.choice(len(SHAPES), len(rows), p=_SHARES)
        drawn[self._chance.random(len(rows)) < self._deploy_share] = -1
        padded = np.zeros((len(rows), _CALL_BYTES_MAX), dtype=np.uint8)
        for number, shape in enumerate(SHAPES):
            at = np.flatnonzero(drawn == number)
            if len(at):
                self._fill_calls(rows, at, shape, padded)
        deploys = np.flatnonzero(drawn < 0)
        payload = example_program(_DEPLOYED).deployment()
        for row in deploys.tolist():
            self._fill_deployment(rows[row], payload)
        widths, calls = rows["payload_bytes"], drawn >= 0
        joined = np.empty(widths.sum(dtype=np.int64), dtype=np.uint8)
        of_calls = np.repeat(calls, widths)
        joined[of_calls] = padded[calls][np.arange(_CALL_BYTES_MAX) < widths[calls, None]]
        joined[~of_calls] = np.tile(np.frombuffer(payload, dtype=np.uint8), len(deploys))
        return joined

    def _fill_calls(
        self, rows: NDArray[Any], at: NDArray[np.int64], shape: CallShape, padded: NDArray[np.uint8]
    ) -> None:
        catalog, chance = self._catalog, self._chance
        others = self._keys[chance.integers(len(self._keys), size=len(at))]
        draw = CallDraw(rows["sender"][at], others, catalog.addresses["exchange"], chance)
        called = catalog.program(shape.contract).function(shape.function)
        number = np.full((len(at), 1), called.number, dtype=np.uint8)
        table = np.concatenate([number, *shape.arguments(draw)], axis=1)
        rows["kind"][at], rows["amount"][at] = KIND_CALL, shape.coins
        rows["fee"][at] = call_fee(catalog.prices)
        rows["recipient"][at] = np.frombuffer(catalog.addresses[shape.contract], dtype=np.uint8)
        rows["payload_bytes"][at] = table.shape[1]
        rows["payload_hash"][at] = self._hash_rows(table)
        padded[at, : table.shape[1]] = table

    def _fill_deployment(self, row: Any, payload: bytes) -> None:
        address = contract_address(row["sender"].tobytes(), int(row["nonce"]))
        row["kind"], row["amount"], row["fee"] = KIND_DEPLOY, 0, deploy_fee(payload, self._catalog.prices)
        row["recipient"] = np.frombuffer(address, dtype=np.uint8)
        row["payload_bytes"] = len(payload)
        row["payload_hash"] = np.frombuffer(sha256(payload), dtype=np.uint8)
