"""Whom this node has found lying, and whom it therefore refuses as a leader for a while.

- Two signatures over different headers of one height and term convict by themselves: see equivocation.py.
- A block that the pipeline refuses is evidence against the leader who put it forward, together with the
  reason; anyone with the state of its parent comes to the same. What that leader says as a leader or
  candidate is ignored for REFUSED_MS_MIN, twice as long with each further refusal, REFUSED_MS_MAX at most;
  then it is heard again, and begins with the shortest time once it was good for as long as the longest. The
  others elect somebody else.
- A time too far ahead of this node's clock is no proof of a lie, nor are effects of a governed function that
  are others here: the leader is refused as long, nothing is kept, and it is heard again as soon as a
  certificate says that it was right (`acquit`).

A certificate overrules this node: for a block that it refused, or where it committed another one at that
height or as its parent, the certificate says that its own state is wrong (`contradiction`).

Refusals, hashes and leaders are bounded; the oldest go first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from actors.consensus.equivocation import EquivocationDetector, Evidence
from actors.ledger.block import Header

REFUSED_MS_MIN, REFUSED_MS_MAX = 30_000, 600_000
REFUSALS_MAX, COMMITTED_MAX = 256, 4096
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RefusedBlock:
    """`identity` put forward, as leader, a block that is not valid; `signature` is what came as its
    proposer's.
    """

    identity: bytes
    header: Header
    signature: bytes
    reason: str

    def describe(self) -> dict[str, object]:
        """For people and for JSON."""
        return {
            "identity": self.identity.hex(),
            "kind": REFUSED,
            "height": self.header.height,
            "term": self.header.term,
            "reason": self.reason,
            "header": self.header.encode().hex(),
            "signature": self.signature.hex(),
        }


@dataclass(slots=True)
class _Avoided:
    until_ms: int
    for_ms: int
    reason: str


class Convictions:
    """Evidence and the list of refused leaders of one node. `network` is the genesis hash."""

    def __init__(self, network: bytes) -> None:
        self.witness = EquivocationDetector(network)
        self.refusals: deque[RefusedBlock] = deque(maxlen=REFUSALS_MAX)
        self._avoided: dict[bytes, _Avoided] = {}
        self._refused: OrderedDict[bytes, str] = OrderedDict()
        self._too_early: OrderedDict[bytes, tuple[bytes, str]] = OrderedDict()
        self._committed: OrderedDict[int, bytes] = OrderedDict()

    @property
    def evidence(self) -> list[Evidence]:
        """Double signatures."""
        return self.witness.evidence

    def describe(self) -> list[dict[str, object]]:
        """All evidence, one dictionary each."""
        double = [found.describe() for found in self.evidence]
        return [*double, *(refusal.describe() for refusal in self.refusals)]

    def refuse(self, leader: bytes, header: Header | None, signature: bytes, reason: str, now_ms: int) -> int:
        """A leader's block was not valid, or, without a header, did not arrive: keep the evidence, and refuse
        the leader; for how many ms."""
        if header is not None:
            self.refusals.append(RefusedBlock(leader, header, signature, reason))
            self._refused[header.hash()] = reason
            if len(self._refused) > REFUSALS_MAX:
                self._refused.popitem(last=False)
        return self._avoid(leader, reason, now_ms)

    def refuse_time(self, leader: bytes, header: Header, reason: str, now_ms: int) -> int:
        """The block's time is too far ahead of this node's clock, or its effects are others here: refuse the
        leader; for how many ms."""
        self._too_early[header.hash()] = leader, reason
        if len(self._too_early) > REFUSALS_MAX:
            self._too_early.popitem(last=False)
        return self._avoid(leader, reason, now_ms)

    def acquit(self, header: Header) -> bool:
        """A proven certificate names this header: whether its time was refused here. Its leader is then heard
        again, unless it was refused for something else meanwhile."""
        leader, reason = self._too_early.pop(header.hash(), (b"", ""))
        known = self._avoided.get(leader)
        if known is not None and known.reason == reason:
            del self._avoided[leader]
        return bool(leader)

    def _avoid(self, leader: bytes, reason: str, now_ms: int) -> int:
        known = self._avoided.get(leader)
        good = known is None or now_ms >= known.until_ms + REFUSED_MS_MAX
        for_ms = REFUSED_MS_MIN if known is None or good else min(2 * known.for_ms, REFUSED_MS_MAX)
        self._avoided[leader] = _Avoided(now_ms + for_ms, for_ms, reason)
        return for_ms

    def avoids(self, leader: bytes, now_ms: int) -> bool:
        """True while what this member says as a leader or candidate is ignored."""
        known = self._avoided.get(leader)
        return known is not None and now_ms < known.until_ms

    def avoided(self, now_ms: int) -> dict[bytes, tuple[int, str]]:
        """The leaders refused at the moment: for how many ms more, and why."""
        return {
            leader: (known.until_ms - now_ms, known.reason)
            for leader, known in self._avoided.items()
            if now_ms < known.until_ms
        }

    def committed(self, height: int, digest: bytes) -> None:
        """This node committed a block."""
        self._committed[height] = digest
        if len(self._committed) > COMMITTED_MAX:
            self._committed.popitem(last=False)

    def contradiction(self, header: Header) -> str:
        """A proven certificate names this header: what that says against this node, or nothing."""
        digest = header.hash()
        reason = self._refused.pop(digest, "")
        if fork := self.fork(header):
            return fork
        if reason:
            return f"block {header.height}, {digest.hex()}, is certified, and this node refused it: {reason}"
        return ""

    def fork(self, header: Header) -> str:
        """What a proven header says against the blocks that this node committed, or nothing."""
        digest = header.hash()
        for height, certified in ((header.height, digest), (header.height - 1, header.parent_hash)):
            own = self._committed.get(height, certified)
            if own != certified:
                what = f"this node committed {own.hex()} at height {height}, where that has {certified.hex()}"
                return f"block {header.height}, {digest.hex()}, is certified, and {what}"
        return ""
