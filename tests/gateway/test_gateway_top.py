"""top: what it shows, and ends with."""

from __future__ import annotations

from rich.console import Console
from typer.testing import CliRunner

from actors.cli import top
from actors.cli.chain import app
from actors.sdk.client import Client
from tests.gateway.gateway_served import Served
from tests.gateway.test_gateway_client import served

__all__ = ["served"]


def test_top_shows_the_node_and_ends_after_its_looks(served: Served) -> None:
    seen: list[str] = []

    def show(look: dict[str, object]) -> None:
        console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(top.dashboard(look))
        seen.append(console.export_text())

    with Client(served.url) as client:
        top.watch(client, show, 0.0, 2)
    assert len(seen) == 2
    for word in ("test", "height 0", "tx/s", "role leader", "mempool-0", "storage", "persist"):
        assert word in seen[1]
    served.node.away = True
    with Client(served.url) as client:
        assert client.actors()["actors"]["storage"] is None
    result = CliRunner().invoke(app, ["top", "--url", "http://127.0.0.1:9", "--looks", "1"])
    assert result.exit_code == 2
