"""Whether this node serves what it says, and if not, why. What is asked of others comes in as calls.

A node is ready when its parts answer, it takes part in a network (a member that knows a leader and has its
vote, or an observer that follows through a peer and keeps up), and nothing has stopped it. Whatever makes it
unready also makes what is read here old sooner or later: the reasons stand in `/v1/ready`, under `gateway` in
`/v1/status`, and in a header of every answer.

Parts are asked in the background, LOOK_S apart, however many ask for readiness. What is normal for a moment
(an election, a peer that reconnects) is a reason only after PATIENCE_S. An observer keeps up if it reaches
what members say they have within `gateway.lag_max_s`, and is LAG_BLOCKS_MAX behind for no longer than that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actors.gateway.backend import BusyError, UnavailableError
from actors.ledger.membership import MemberStanding

LOOK_S, ANSWER_TIMEOUT_S = 1.0, 2.0
PATIENCE_S = 3.0
LAG_BLOCKS_MAX = 256
REASON_CHARS_MAX = 300
Facts = Mapping[str, Any]
Ask = Callable[[], Awaitable[Any]]
NOT_LOOKED = "this node is starting"


class Readiness:
    """What the last look at the node's parts found.

    status: of Consensus. storage, peer: health of those actors; peer is None for a node without one.
    members: of Consensus.
    """

    def __init__(
        self,
        status: Ask,
        storage: Ask | None,
        peer: Ask | None = None,
        members: Ask | None = None,
        clock: Callable[[], float] = time.monotonic,
        lag_max_s: float = 30.0,
    ) -> None:
        self._status, self._storage, self._peer, self._members = status, storage, peer, members
        self._clock, self._lag_max_s = clock, lag_max_s
        self._aim: tuple[int, float] | None = None  # a height to reach, and since when it is known
        self._since: dict[str, float] = {}
        self._watched = False
        self.reasons: tuple[str, ...] = (NOT_LOOKED,)
        self.parts: dict[str, bool] = {"storage": False, "consensus": False}

    async def watch(self) -> None:
        """Look again and again; from now on nobody else needs to."""
        self._watched = True
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def now(self) -> tuple[dict[str, bool], tuple[str, ...]]:
        """Parts, and the reasons that speak against this node; looks by itself where nobody watches."""
        if not self._watched:
            await self.look()
        return self.parts, self.reasons

    @property
    def stale(self) -> str:
        """The reasons in one line; "" for a node that is ready, or has not been looked at yet."""
        return "" if self.reasons == (NOT_LOOKED,) else "; ".join(self.reasons)

    async def look(self) -> None:
        """Ask all parts at once."""
        calls = _answer(self._status), _answer(self._storage), _answer(self._peer)
        status, storage, peer = await asyncio.gather(*calls)
        self.parts = {"storage": storage is not None, "consensus": status is not None}
        gone = status is not None and _lacks_leader(status) and _removed(status, await _answer(self._members))
        found = [f"{name} does not answer" for name, answers in self.parts.items() if not answers]
        found += _of_storage(storage or {})
        found += self._of_network(status, peer, gone) if status is not None else []
        self.reasons = tuple(reason[:REASON_CHARS_MAX] for reason in dict.fromkeys(found))

    def _of_network(self, status: Facts, peer: Facts | None, gone: bool) -> list[str]:
        """What Consensus and Peer say, and what has lasted too long."""
        found = [f"halted: {status['halted']}"] if status.get("halted") else []
        if standing := str(status.get("standing") or ""):
            found.append(standing)
        role, observes = status.get("role"), status.get("role") == "observer"
        if role == "starting":
            found.append("this node's consensus is starting")
        if gone:
            return [*found, "this node is not a member of the network any more"]
        cut_off = observes and peer is not None and not peer.get("peers", 1)
        lasting = {
            "no leader is known": _lacks_leader(status),
            "peer does not answer": observes and self._peer is not None and peer is None,
            "no peer is connected, so nothing can be followed": cut_off,
        }
        for refused in status.get("refused_leaders") or ():
            lasting[f"its leader is refused: {refused['reason']}"] = _lacks_leader(status)
        if observes and peer is not None:
            found += self._lag(int(status.get("height", 0)), int(peer.get("known_head", 0)))
        if observes and peer is not None and peer.get("halted"):
            found.append(f"this node does not follow any more: {peer['halted']}")
        return found + [reason for reason, holds in lasting.items() if self._lasts(reason, holds)]

    def _lag(self, height: int, known: int) -> list[str]:
        """Whether a height that was known long ago is not reached yet, or much is missing."""
        now_s = self._clock()
        if self._aim is None or height >= self._aim[0]:
            self._aim = (known, now_s) if known > height else None
        far = self._lasts("far behind", known - height > LAG_BLOCKS_MAX)
        if self._aim is None or not (far or now_s - self._aim[1] >= self._lag_max_s):
            return []
        return [f"this node is at height {height}, {known - height} blocks behind the members' {known}"]

    def _lasts(self, reason: str, holds: bool) -> bool:
        if not holds:
            self._since.pop(reason, None)
            return False
        now_s = self._clock()
        return now_s - self._since.setdefault(reason, now_s) >= PATIENCE_S


async def _answer(ask: Ask | None) -> Any:
    """What a part says; None where it does not, or not in time."""
    if ask is None:
        return None
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await ask()
    except (UnavailableError, BusyError, TimeoutError):
        return None


def _lacks_leader(status: Facts) -> bool:
    return status.get("role") not in ("leader", "observer", "starting") and not status.get("leader")


def _removed(status: Facts, members: list[MemberStanding] | None) -> bool:
    return any(each.identity == status.get("identity") and each.role == "out" for each in members or ())


def _of_storage(health: Facts) -> list[str]:
    found = [f"the disk is full: {health['read_only']}"] if health.get("read_only") else []
    return found + ([f"storage: {health['background_error']}"] if health.get("background_error") else [])
