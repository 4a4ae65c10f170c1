"""POST /v1/transactions/batch as a raw ASGI application: the hot route beneath the typed surface.

The body's length is compared with the bound before a byte of it is read; a body without Content-Length is
read until the bound and refused there; bytes of bodies held at a time are bounded, a client and in sum.
What has arrived is read in its client's turn.
Answers are JSON (only the refused rows listed), or with `Accept: application/octet-stream` one verdict byte
a row, the height in the header `Raychain-Height`.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
import numpy as np

from actors.gateway.backend import SOURCE_KEY, BusyError, Submission, UnavailableError, Wait
from actors.gateway.body import (
    BodyBudget,
    DisconnectError,
    Receive,
    Report,
    Scope,
    Send,
    send_answer,
    send_problem,
    size_of_body,
)
from actors.gateway.problem import ProblemError, of_error, of_verdict, refused_rows
from actors.gateway.roles import CALLER_KEY, STARTS_KEY, AccessRole, needs
from actors.gateway.service import Service
from actors.ledger.rows import FormatError, decode_batch
from actors.ledger.verdict import Verdict

BINARY = "application/octet-stream"
START_BYTES = 64 << 10  # of a batch, whose reading and hashing cost about as much as a small request
_MEMPOOL_AWAY = (Verdict.UNAVAILABLE, Verdict.POOL_FULL)


@needs(AccessRole.SUBMIT)
class BatchRoute:
    """The ASGI application of the route."""

    def __init__(self, backend: Service, report: Report, budget: BodyBudget) -> None:
        self._backend, self._report, self._budget = backend, report, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = dict(scope["headers"])
            submission, wait = await self._submit(scope, headers, receive)
            _raise_if_stuck(submission)
            binary = BINARY.encode() in headers.get(b"accept", b"")
            await _send_submission(send, submission, wait, binary)
        except DisconnectError:
            return
        except (ProblemError, FormatError, BusyError, UnavailableError) as error:
            await send_problem(send, of_error(error))
        except Exception as error:  # noqa: BLE001 - the outermost boundary: reported, and answered with 500
            self._report("batch submission", error)
            await send_problem(send, of_error(error))

    async def _submit(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[Submission, Wait]:
        if scope["method"] != "POST":
            problem = ProblemError("method-not-allowed", "a batch is submitted with POST")
            problem.headers["Allow"] = "POST"
            raise problem
        wait = _read_wait(scope.get("query_string", b""))
        media = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media != BINARY.encode():
            raise ProblemError("unsupported-media-type", f"a batch is {BINARY}", field="content-type")
        limits = self._backend.limits
        size = size_of_body(headers, limits.body_bytes_max)
        client = scope[CALLER_KEY].client
        async with self._budget.body(receive, size, client) as data:
            if (starts := scope.get(STARTS_KEY)) is not None:
                await starts.enter(client, 1 + len(data) // START_BYTES)
            batch = decode_batch(data, limits.rows_max, limits.payload_bytes_max)
            return await self._backend.submit(batch, wait, scope.get(SOURCE_KEY, "")), wait


def _read_wait(query: bytes) -> Wait:
    try:
        values = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=16)
        return Wait(values.get("wait", [Wait.ACCEPTED])[-1])
    except ValueError:
        detail = "wait is one of accepted, durable, committed"
        raise ProblemError("invalid", detail, field="wait") from None


def _raise_if_stuck(submission: Submission) -> None:
    """Answer 503 when no row was taken only because the mempool is away or full, 504 when some still wait."""
    verdicts = submission.verdicts
    if len(verdicts) and (verdicts == verdicts[0]).all() and verdicts[0] in _MEMPOOL_AWAY:
        raise of_verdict(int(verdicts[0]))
    if len(submission.pending):
        raise ProblemError(
            "commit-timeout",
            f"{len(submission.pending)} rows are accepted but not committed yet; ask for them by id",
            accepted=int(np.count_nonzero(verdicts == Verdict.OK)),
            pending=submission.pending.tolist(),
            rows=refused_rows(verdicts),
            height=submission.height,
        )


async def _send_submission(send: Send, submission: Submission, wait: Wait, binary: bool) -> None:
    verdicts = submission.verdicts
    if binary:
        height = b"" if submission.height is None else str(submission.height).encode()
        await send_answer(
            send, 200, BINARY, verdicts.tobytes(), [(b"raychain-height", height)] if height else []
        )
        return
    answer = {
        "accepted": int(np.count_nonzero(verdicts == Verdict.OK)),
        "parked": submission.parked.tolist(),
        "rejected": refused_rows(verdicts),
        "wait": wait.value,
        "height": submission.height,
    }
    await send_answer(send, 200, "application/json", msgspec.json.encode(answer), [])
