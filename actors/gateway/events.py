"""Who is told of which block: subscriptions, and what each of them has not been sent yet. No I/O.

A subscription holds heights, not messages: at most PENDING_MAX of them (the design's bounded subscription
buffer). At the bound the oldest leaves and is remembered as lagged; the subscriber is told the range, and can
read it up with `from_height` on a new connection. So a reader that never reads costs its heights and what its
socket buffers hold, and delays nobody.

Subscriptions to blocks get every height. Those to contracts get every height that has a transaction, since a
delta does not say which events there were. Those to accounts or keys get the heights whose delta touches one
of theirs. All get every height whose delta never came, since nobody knows what is in such a block.

A subscription is private to its subscriber: where one begins, or how far one has come, is its own `after` and
moves nothing that others share. `newest` of the hub follows the deltas of this node alone.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.gateway.contract_topics import ContractTopic
from actors.kernels.multilinear import MultilinearHash
from actors.ledger.delta import AccountStates, Delta

PENDING_MAX = 100
FACTS_KEPT = 256


@dataclass(frozen=True, slots=True)
class Topics:
    """What a subscriber wants: every block, transactions of accounts, the state of keys (32 bytes each), and
    events of contracts."""

    blocks: bool
    accounts: frozenset[bytes]
    keys: frozenset[bytes]
    contracts: frozenset[ContractTopic] = frozenset()

    @property
    def watched(self) -> frozenset[bytes]:
        """All keys whose change concerns the subscriber."""
        return self.accounts | self.keys

    @property
    def count(self) -> int:
        """How much is asked for besides blocks."""
        return len(self.accounts) + len(self.keys) + len(self.contracts)


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
    """Heights that one subscriber has not been sent yet. after: up to it he has, or wants, nothing more."""

    def __init__(self, topics: Topics, after: int = 0) -> None:
        self.topics, self.after = topics, after
        self._heights: deque[int] = deque()
        self._lagged: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._heights)

    def offer_all(self, heights: range) -> bool:
        """Several heights in a row concern this subscriber. True if it begins to lag by them."""
        began, over = False, len(heights) - PENDING_MAX
        if over > 0:  # these would be pushed out one by one, with all that waits
            began = self._lagged is None
            waiting = self._heights[0] if self._heights else heights[0]
            self._heights.clear()
            self._lagged = (waiting if self._lagged is None else self._lagged[0], heights[over - 1])
            heights = heights[over:]
        for height in heights:
            began |= self.offer(height)
        return began

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

    def add(self, subscription: Subscription) -> None:
        """Begin to offer what is above `subscription.after`, which lies not below the newest delta."""
        if self.newest is not None and subscription.after < self.newest:
            raise ValueError(f"a subscription after {subscription.after}, below the newest {self.newest}")
        self._all.add(subscription)
        for key in subscription.topics.watched:
            self._watchers.setdefault(key, set()).add(subscription)
        self._watched = None

    def _skip(self, height: int) -> set[Subscription]:
        """Before the delta of `height`: offer the heights whose deltas did not come; who got some."""
        woken = set()
        for subscription in self._all:
            first = (
                subscription.after + 1 if self.newest is None else max(self.newest, subscription.after) + 1
            )
            if first < height:
                self.lagged += subscription.offer_all(range(first, height))
                woken.add(subscription)
        return woken

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

    def publish(self, delta: Delta) -> list[Subscription]:
        """Take a block's delta; the subscriptions that have something to send now.

        Heights may be skipped or come late: a skipped one is offered when a higher one comes, once.
        """
        height = delta.height
        facts = self._read(delta)
        self._facts[height] = facts
        while len(self._facts) > FACTS_KEPT:
            self._facts.popitem(last=False)
        if self.newest is not None and height <= self.newest:
            return []
        woken = set() if self.newest is not None and height == self.newest + 1 else self._skip(height)
        self.newest = height
        concerned = {
            one for one in self._all if one.topics.blocks or (one.topics.contracts and facts.transactions)
        }
        for key in facts.touched:
            concerned |= self._watchers.get(key, set())
        concerned = {one for one in concerned if one.after < height}
        for subscription in concerned:
            self.lagged += subscription.offer(height)
        return list(woken | concerned)

    def _read(self, delta: Delta) -> BlockFacts:
        touched = self._touched(delta.accounts()) if self._watchers else {}
        return BlockFacts(delta.height, delta.hash, delta.state_root, delta.time_ms, len(delta.ids), touched)

    def _touched(self, accounts: AccountStates) -> dict[bytes, tuple[int, int]]:
        """Nonce and balance of the watched accounts among these."""
        return {
            key: (int(accounts.nonces[at]), balance) if (balance := int(accounts.balances[at])) else (0, 0)
            for at in self._candidates(accounts.keys).tolist()
            if (key := accounts.keys[at].tobytes()) in self._watchers
        }

    def _candidates(self, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Rows of (m, 32) keys whose hash is that of a watched key, of which there is one at least."""
        if len(keys) == 0:
            return np.empty(0, dtype=np.int64)
        if self._watched is None:
            watched = np.frombuffer(b"".join(self._watchers), dtype=np.uint8)
            self._watched = np.unique(self._hash(watched))
        return np.flatnonzero(np.isin(self._hash(keys), self._watched))
