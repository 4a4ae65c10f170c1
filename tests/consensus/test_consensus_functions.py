"""A leader's trials of governed functions: who is asked, what a quorum is, and what strangers' bytes do."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.consensus import functions
from actors.consensus.functions import FunctionTrials, TrialAnswer, answer, decode_request
from actors.consensus.pipeline import Position, Work
from actors.ledger.governed_rules import is_governed
from actors.ledger.hashing import sha256
from actors.ledger.rows import Batch, encode_batch
from actors.ledger.signing import Signer
from actors.ledger.verdict import Verdict
from actors.storage.interface import FunctionTried, TryFunction
from tests.ledger.governed_blocks import effects_of, function_row, statement
from tests.storage.storage_batches import key

TAG = 77
EFFECTS = effects_of({0: 5}).encode()
DIGEST = sha256(EFFECTS)
FOUND = FunctionTried(0, DIGEST, np.frombuffer(EFFECTS, dtype=np.uint8))
ROW = encode_batch(function_row(statement(TAG, key(0), key(1))))
AGREES = TrialAnswer(0, DIGEST, "")
OTHER = TrialAnswer(int(Verdict.FUNCTION_REFUSED), b"", "another sum")
AWAY = TrialAnswer(int(Verdict.UNAVAILABLE), b"", "")


class Ports:
    """Storage and the other members, who say what a test has them say."""

    def __init__(self, own: FunctionTried, *said: TrialAnswer | bytes) -> None:
        self.signer, self._own = Signer(bytes(32)), own
        self.said = {bytes([n]) * 32: each for n, each in enumerate(said)}
        self.asked: list[TryFunction] = []
        self.refused: list[tuple[int, str]] = []

    async def try_function(self, request: TryFunction) -> FunctionTried:
        self.asked.append(request)
        return self._own

    async def refuse_function(self, function: bytes, height: int, reason: str) -> None:
        assert function == ROW
        self.refused.append((height, reason))

    async def ask_to_try(self, identity: bytes, request: bytes, deadline_s: float) -> bytes:
        said = self.said[identity]
        wanted = decode_request(request)
        assert (wanted.digest, wanted.height, wanted.parent) == (DIGEST, 6, b"p" * 32)
        return said if isinstance(said, bytes) else msgspec.msgpack.encode(said)


class Pipeline:
    def __init__(self, verdicts: tuple[int, int]) -> None:
        self.tip, self.works, self._verdicts = Position(5, b"p" * 32, 1, 1_000), list[Work](), verdicts

    async def submit(self, work: Work) -> asyncio.Future[None]:
        self.works.append(work)
        assert work.on_executed is not None
        work.on_executed(np.array(self._verdicts, dtype=np.uint8))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def proposed(ports: Ports, verdicts: tuple[int, int] = (0, 0)) -> tuple[Verdict, list[Work], list[str]]:
    told: list[str] = []

    async def whole() -> tuple[Verdict, list[Work]]:
        pipeline: Any = Pipeline(verdicts)
        trials = FunctionTrials(
            ports, TAG, lambda: list(ports.said), lambda who: f"member-{who[0]}", lambda: 7, told.append
        )
        return await trials.propose(ROW, pipeline), pipeline.works

    return *asyncio.run(whole()), told


def test_a_block_is_proposed_when_a_quorum_agrees() -> None:
    for said in ((AGREES, AGREES), (AGREES, OTHER), (AWAY, AGREES), (b"", AGREES), (b"\xc1", AGREES)):
        ports = Ports(FOUND, *said)
        verdict, (work,), _ = proposed(ports)
        assert verdict is Verdict.OK
        block = Batch(*work.parts)
        assert is_governed(block)
        assert block.rows["sender"][1].tobytes() == ports.signer.public_key
        assert block.payloads.tobytes().endswith(EFFECTS)
        assert work.clock_ms == 1_000  # not before the parent, whatever the clock says
        assert ports.asked[0].runs == 1
        assert ports.refused == []


def test_a_function_is_refused_when_no_quorum_can_agree() -> None:
    ports = Ports(FOUND, OTHER, TrialAnswer(0, bytes(32), ""))
    verdict, works, told = proposed(ports)
    assert (verdict, works) == (Verdict.FUNCTION_REFUSED, [])
    assert ports.refused == [(6, "member-0: another sum; member-1: it has other effects there")]
    assert "member-0: another sum" in told[0]


def test_a_function_waits_while_too_few_say_anything() -> None:
    for said in ((AWAY, AWAY), (OTHER, b""), (AGREES, AWAY, AWAY, OTHER)):
        ports = Ports(FOUND, *said)
        verdict, works, _ = proposed(ports)
        assert (verdict, works, ports.refused) == (Verdict.BLOCK_GAS, [], [])


def test_what_fails_here_is_not_asked_of_others() -> None:
    for verdict, wanted in (
        (Verdict.FUNCTION_REFUSED, Verdict.FUNCTION_REFUSED),
        (Verdict.NONCE_GAP, Verdict.NONCE_GAP),
        (Verdict.UNAVAILABLE, Verdict.BLOCK_GAS),
    ):
        ports = Ports(FunctionTried(int(verdict), reason="why"), b"never asked")
        assert proposed(ports)[0] is wanted


def test_a_member_alone_runs_it_twice_and_tells_what_its_block_came_to() -> None:
    ports = Ports(FOUND)
    assert proposed(ports)[0] is Verdict.OK
    assert ports.asked[0].runs == 2
    assert proposed(Ports(FOUND), (Verdict.NONCE_REUSED, Verdict.BAD_EFFECTS))[0] is Verdict.NONCE_REUSED


@given(st.binary(max_size=200))
def test_a_request_is_one_or_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode_request(body)


def test_a_request_without_effects_or_too_long_is_refused() -> None:
    good = TryFunction(6, b"p" * 32, 1, ROW, DIGEST, runs=9)
    assert decode_request(msgspec.msgpack.encode(good)).runs == 1
    long = bytes(functions.REQUEST_BYTES_MAX)
    for changes in ({"digest": b""}, {"height": 0}, {"time_ms": -1}, {"function": long}):
        with pytest.raises(ValueError):
            decode_request(msgspec.msgpack.encode(msgspec.structs.replace(good, **changes)))


def test_a_member_waits_for_the_block_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "ELSEWHERE_PAUSE_S", 0.0)
    answers = [FunctionTried(int(Verdict.UNAVAILABLE)), FunctionTried(int(Verdict.UNAVAILABLE)), FOUND]
    asked: list[TryFunction] = []

    async def tries(_request: TryFunction) -> FunctionTried:
        asked.append(_request)
        return answers[len(asked) - 1]

    body = msgspec.msgpack.encode(TryFunction(6, b"p" * 32, 1, ROW, DIGEST))
    said = msgspec.msgpack.decode(asyncio.run(answer(body, tries)), type=TrialAnswer)
    assert (said, len(asked)) == (AGREES, 3)
