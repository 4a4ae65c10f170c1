"""Who is told of which block: subscriptions, and what each of them has not been sent yet. No I/O.

A subscription holds heights, not messages: at most PENDING_MAX of them (the design's bounded subscription
buffer). At the bound the oldest leaves and is remembered as lagged; the subscriber is told the range, and can
read it up with `from_height` on a new connection. So a reader that never reads costs its heights and what its
socket buffers hold, and delays nobody.

Subscriptions to blocks get every height. Those to accounts or keys get the heights whose delta touches one of
theirs, and every height whose delta never came, since nobody knows what such a block touched.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.multilinear import MultilinearHash

PENDING_MAX = 100
FACTS_KEPT = 256
SKIPPED_MAX = 256


@dataclass(frozen=True, slots=True)
class Topics:
    """What a subscriber wants: every block, transactions of accounts, the state of keys (32 bytes each)."""

    blocks: bool
    accounts: frozenset[bytes]
    keys: frozenset[bytes]

    @property
    def watched(self) -> frozenset[bytes]:
        """All keys whose change concerns the subscriber."""
        return self.accounts | self.keys


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """What a delta says of its block. touched: nonce and balance of the watched keys that it changed."""

    height: int
    hash: bytes
    state_root: bytes
    time_ms: int
    transactions: int
    touched: dict[bytes, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Pending:
    """What a subscription gives out at once. lagged: first and last height that it gave up, or None."""

    lagged: tuple[int, int] | None
    heights: list[int]


class Subscription:
    """Heights that one subscriber has not been sent yet."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self._heights: deque[int] = deque()
        self._lagged: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._heights)

    def offer(self, height: int) -> bool:
        """A height concerns this subscriber. True if it begins to lag by it."""
        began = False
        if len(self._heights) == PENDING_MAX:
            lost, began = self._heights.popleft(), self._lagged is None
            self._lagged = (lost if self._lagged is None else self._lagged[0], lost)
        self._heights.append(height)
        return began

    def take(self) -> Pending:
        """Everything that waits."""
        pending = Pending(self._lagged, list(self._heights))
        self._lagged = None
        self._heights.clear()
        return pending


class EventHub:
    """All subscriptions of one gateway, and the facts of the newest FACTS_KEPT blocks.

    seed: as for MultilinearHash.
    """

    def __init__(self, seed: int) -> None:
        self._hash = MultilinearHash(seed)
        self.newest: int | None = None
        self.lagged = 0
        self._all: set[Subscription] = set()
        self._watchers: dict[bytes, set[Subscription]] = {}
        self._facts: OrderedDict[int, BlockFacts] = OrderedDict()
        self._watched: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self._all)

    def add(self, subscription: Subscription, height: int) -> list[Subscription]:
        """Begin to offer what is above `height`, a committed height that the subscriber knows of.

        Returns older subscriptions that have something to send now: the deltas up to there are late.
        """
        late = self._skip(range((height if self.newest is None else self.newest) + 1, height + 1))
        self.newest = max(height, self.newest or 0)
        self._all.add(subscription)
        for key in subscription.topics.watched:
            self._watchers.setdefault(key, set()).add(subscription)
        self._watched = None
        return late

    def _skip(self, heights: range) -> list[Subscription]:
        """Offer heights without a delta to everybody; who got some."""
        if not heights:
            return []
        for subscription in self._all:
            for height in heights[-SKIPPED_MAX:]:
                self._offer(subscription, height)
        return list(self._all)

    def _offer(self, subscription: Subscription, height: int) -> None:
        self.lagged += subscription.offer(height)

    def remove(self, subscription: Subscription) -> None:
        """Offer nothing more to it; one that is not there is passed over."""
        self._all.discard(subscription)
        for key in subscription.topics.watched:
            watchers = self._watchers.get(key, set())
            watchers.discard(subscription)
            if not watchers:
                self._watchers.pop(key, None)
        self._watched = None

    def facts(self, height: int) -> BlockFacts | None:
        """What the delta of a recent block said."""
        return self._facts.get(height)

    def publish(self, delta: dict[str, Any]) -> list[Subscription]:
        """Take a block's delta; the subscriptions that have something to send now.

        Heights may be skipped or come late: a skipped one is offered when a higher one comes, once.
        """
        height = int(delta["height"])
        facts = self._read(height, delta)
        self._facts[height] = facts
        while len(self._facts) > FACTS_KEPT:
            self._facts.popitem(last=False)
        if self.newest is not None and height <= self.newest:
            return []
        woken = set(self._skip(range((height - 1 if self.newest is None else self.newest) + 1, height)))
        self.newest = height
        concerned = {one for one in self._all if one.topics.blocks}
        for key in facts.touched:
            concerned |= self._watchers.get(key, set())
        for subscription in concerned:
            self._offer(subscription, height)
        return list(woken | concerned)

    def _read(self, height: int, delta: dict[str, Any]) -> BlockFacts:
        keys = np.asarray(delta["keys"])
        touched = {
            key: (int(delta["nonces"][at]), balance) if (balance := int(delta["balances"][at])) else (0, 0)
            for at in self._candidates(keys).tolist()
            if (key := keys[at].tobytes()) in self._watchers
        }
        digest, root = bytes(delta["hash"]), bytes(delta["state_root"])
        return BlockFacts(height, digest, root, int(delta["time_ms"]), len(delta["ids"]), touched)

    def _candidates(self, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Rows of (m, 32) keys whose hash is that of a watched key."""
        if not self._watchers or len(keys) == 0:
            return np.empty(0, dtype=np.int64)
        if self._watched is None:
            watched = np.frombuffer(b"".join(self._watchers), dtype=np.uint8)
            self._watched = np.unique(self._hash(watched))
        return np.flatnonzero(np.isin(self._hash(keys), self._watched))
