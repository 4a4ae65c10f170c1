"""One transfer until its fate is known: what each answer, and each doubt, makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from actors.ledger.rows import Batch
from actors.sdk.client import Client
from actors.sdk.delivery import DeliveryOutcome, deliver
from actors.sdk.requests import WaitLevel
from bench.attack.between import Asked, Between, http_answer
from tests.gateway.gateway_fake_node import SENDERS, FakeNode
from tests.gateway.gateway_served import Served

DOWN = http_answer(502, "text/html", b"<html>")


@pytest.fixture
def served() -> Iterator[Served]:
    running = Served(FakeNode(commit_timeout_s=1))
    running.node.service._fates.timeout_s = 0.05
    yield running
    running.stop()
    assert running.faults == []


def offered(
    served: Served, batch: Batch, answers: Callable[[Asked], bytes | None], wait: WaitLevel
) -> DeliveryOutcome:
    """What becomes of it while `answers` stands between, on a clock that goes a second a look."""
    seconds = count()
    with Between(served.url, answers) as proxy, Client(proxy.url) as client:
        return deliver(client, batch, wait, 12.0, lambda: float(next(seconds)), lambda _s: None)


def test_an_answer_that_was_lost_on_the_way_back_is_looked_up(served: Served) -> None:
    """The proxy passes the submission on, and answers itself."""
    batch, numbers = served.node.transfer(0, 0), count()

    def lose(asked: Asked) -> bytes | None:
        if asked.method != "POST" or next(numbers):
            return None
        with Client(served.url) as direct:
            direct.submit_one(batch, "committed")
        return DOWN

    with served.making_blocks():
        outcome = offered(served, batch, lose, "committed")
    assert (outcome.status, outcome.height) == ("committed", 1)
    assert sum(len(block.batch) for block in served.node.blocks.values()) == 1


def test_one_that_another_displaced_meanwhile_is_refused(served: Served) -> None:
    numbers = count()

    def displace(asked: Asked) -> bytes | None:
        if asked.method != "POST" or next(numbers):
            return None
        with Client(served.url) as direct:
            direct.submit_one(served.node.transfer(0, 0, amount=9), "committed")
        return DOWN

    with served.making_blocks():
        outcome = offered(served, served.node.transfer(0, 0), displace, "committed")
    assert (outcome.status, outcome.verdict, outcome.height) == ("refused", "NONCE_REUSED", None)


def test_refusals_that_nothing_can_change_are_said_at_once(served: Served) -> None:
    node, honest = served.node, lambda _asked: None
    for batch, verdict in (
        (node.transfer(0, 0, expiry_height=0), "EXPIRED"),
        (node.transfer(0, 3), "NONCE_GAP"),
        (node.transfer(0, 0, amount=2**64 - 1, fee=1), "AMOUNT_OVERFLOW"),
    ):
        outcome = offered(served, batch, honest, "committed")
        assert (outcome.status, outcome.verdict) == ("refused", verdict)
    assert node.height == 0


def test_one_that_is_pending_is_unknown_until_it_is_committed(served: Served) -> None:
    batch, honest = served.node.transfer(0, 0), lambda _asked: None
    assert offered(served, batch, honest, "accepted").status == "accepted"
    assert offered(served, batch, honest, "accepted").status == "accepted"
    pending = offered(served, batch, honest, "committed")
    assert (pending.status, pending.height) == ("unknown", None)
    served.node.commit()
    again = offered(served, batch, honest, "committed")
    assert (again.status, again.height) == ("committed", 1)
    assert again.id == batch.ids()[0].tobytes()
    other = served.node.transfer(0, 0, amount=77)
    assert offered(served, other, honest, "committed").status == "refused"
    assert served.node.state[SENDERS[0].public_key].nonce == 1
