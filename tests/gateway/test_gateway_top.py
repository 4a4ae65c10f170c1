"""top: what it shows, which keys it obeys, and what it ends with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from rich.console import Console
from typer.testing import CliRunner

from actors.cli import top
from actors.cli.chain import app
from actors.sdk.answers import UnavailableApiError
from actors.sdk.client import Client
from tests.gateway.gateway_served import Served
from tests.gateway.test_gateway_client import served

__all__ = ["served"]


@pytest.fixture
def view(served: Served) -> Iterator[top.View]:
    with Client(served.url) as client, Client(served.url) as other:
        yield top.View([client, other], 1.0)


def shown(look: top.Look, view: top.View) -> str:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(top.dashboard(look, view))
    return console.export_text()


def test_it_shows_the_node_its_actors_and_its_stages(view: top.View) -> None:
    view.looks = 2
    texts = [shown(look, view) for look in view.looks_at(lambda _: "")]
    assert len(texts) == 2
    for word in ("this node is starting", "0 tx/s", "mempool-0", "storage", "persist", top.KEYS):
        assert word in texts[1]
    assert all(len(line) <= 80 for line in texts[1].splitlines())


def test_it_obeys_keys_until_it_is_told_to_leave(view: top.View) -> None:
    keys, seen = iter("p+npq"), []
    for look in view.looks_at(lambda _: next(keys)):
        seen.append((view.paused, view.every_s, view.number, "tps" in look))
    assert [each[:3] for each in seen] == [
        (False, 1.0, 0),
        (True, 1.0, 0),
        (True, 0.5, 0),
        (False, 0.5, 1),
        (True, 0.5, 1),
    ]
    assert not seen[3][3]  # of another node there is no look before


def test_what_goes_away_is_shown_to_be(
    view: top.View, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = view.looks_at(lambda _: "")
    next(looks)
    served.node.away = True
    assert re.search(r"storage +away", shown(next(looks), view))

    def gone(_client: Client) -> None:
        raise UnavailableApiError({"title": "no answer"}, 1.0)

    monkeypatch.setattr(Client, "status", gone)
    assert "✗ It does not answer any more" in shown(next(looks), view)


def test_it_prints_looks_as_json_and_ends_without_a_node(served: Served) -> None:
    result = CliRunner().invoke(app, ["top", "--url", served.url, "--looks", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["network"] == "test"
    result = CliRunner().invoke(app, ["top", "--url", "http://127.0.0.1:9", "--looks", "1"])
    assert result.exit_code == 2
