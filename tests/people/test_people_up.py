"""What a person sees on a terminal: of `up`, and of every command that goes on until it is told to leave."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.people.conftest import NODE, UP_OPTIONS, LiveNetwork, fits, run
from tests.people.terminal import ROWS, Terminal

Opened = Callable[[str], Terminal]


@pytest.fixture
def opened(network: LiveNetwork) -> Iterator[Opened]:
    """Opens terminals beside the network, in each of which a command runs."""
    terminals: list[Terminal] = []

    def run_in_one(command: str) -> Terminal:
        terminals.append(Terminal([*NODE, *command.split()], network.folder, network.environment()))
        return terminals[-1]

    yield run_in_one
    for terminal in terminals:
        terminal.close()


def test_the_banner_and_the_line_of_every_node_are_seen_on_a_terminal(network: LiveNetwork) -> None:
    """A spinner that held the old standard error put it back when it ended, and nothing was seen any more."""
    assert len(network.urls) >= 3
    text = network.terminal.await_text(lambda text: re.search(r"node-3 .*height \d+.* up", text))
    assert text.startswith("Network local is up: 3 members, 3 nodes here.")
    for words in (
        str(network.folder / "data"),
        "development:0  ",
        "node.py status",
        f"RAYCHAIN_URL={network.urls[0]}",
    ):
        assert words in text
    assert all(not line.endswith("…") for line in text.splitlines())


def test_every_address_of_the_banner_is_there(network: LiveNetwork) -> None:
    """The documentation's was not."""
    addresses = set(re.findall(r"http://\S+", network.terminal.text()))
    assert any(each.endswith("/explorer/") for each in addresses)
    assert any(each.endswith("/openapi.json") for each in addresses)
    for address in addresses - set(network.urls):
        assert httpx.get(address).status_code == 200, address


def test_live_views_are_seen_and_left_by_their_keys(opened: Opened, network: LiveNetwork) -> None:
    top, watching = opened(f"top --every 0.2 --url {','.join(network.urls)}"), opened("status --watch 0.2")
    following, sending = (
        opened("logs -f"),
        opened("send 1 --from development:5 --to development:6 --count 300"),
    )
    top.await_text("node-1 is healthy")
    assert len("\n".join(top.screen()).rstrip().splitlines()) <= ROWS
    for words in ("validator-0", "node-2", "pending", "q leave"):
        assert words in top.text()
    top.press("n")
    top.await_text("node-2 is healthy")
    top.press("p")
    top.await_text("paused")
    top.press("q")
    assert top.end() == 0

    watching.await_text("healthy")
    following.await_text("node-3 gateway-0")
    for live in (watching, following):
        live.press("\x03")
        assert live.end() == 0, live.text()
        assert "Traceback" not in live.text()
    assert sending.end() == 0, sending.text()
    assert "✓ 300 of 300 transfers are committed" in sending.text()


def test_what_is_taken_is_told_at_once(opened: Opened, network: LiveNetwork) -> None:
    port = network.urls[0].rpartition(":")[2]
    folder, number = (
        opened(f"up {' '.join(UP_OPTIONS)}"),
        opened(f"up --data-dir other --set gateway.port={port}"),
    )
    assert (folder.end(), number.end()) == (2, 2)
    assert "node-1 runs already" in folder.text().replace("\n", " ")
    assert f"port {port} (gateway.port of node-1) is taken" in number.text().replace("\n", " ")
    for terminal in (folder, number):
        assert "starting Ray" not in terminal.text()


def test_a_node_that_runs_is_checked_and_has_a_snapshot_made(shell: LiveNetwork) -> None:
    run("send 3 --from development:7 --to development:8")
    made = run("snapshot create --node node-2").stdout
    assert made.startswith("✓ node-2 has a snapshot of height ")
    assert "next: node.py snapshot export" in run("snapshot list --node node-2").stdout
    run("snapshot export archive --node node-2")
    assert (shell.folder / "archive" / "manifest").is_file()
    checked = run("check --node node-2").stdout
    assert checked.startswith("✓ Sound: every byte, block and root in a copy of data/node-2, whose node runs")
    assert not (shell.folder / "data" / "node-2" / "db.copy").exists()


def test_leadership_goes_to_whom_it_is_handed(shell: LiveNetwork) -> None:
    text = run("members").stdout
    assert text.startswith("✓ 3 of 3 members vote and can be reached")
    assert fits(text)
    for url in shell.urls:  # the leader knows how far each has come, and tells the others
        rows = [each for each in run(f"members --url {url}").stdout.splitlines() if each.startswith("node-")]
        assert len([each for each in rows if " none " in each]) == 3, rows
    other = next(name for name in ("node-1", "node-2", "node-3") if not leads(name, text))
    assert run(f"members transfer {other}").stdout.startswith(f"✓ {other} is to lead")
    until, pause = time.monotonic() + 60, threading.Event()
    while not leads(other, run("members").stdout):
        assert time.monotonic() < until
        pause.wait(0.1)


def leads(name: str, members: str) -> bool:
    """Whether a table of members says so."""
    return bool(re.search(rf"{name} (?:\(asked\) )? *voter  leads", members))


@pytest.mark.slow_trial
def test_the_demo_ends_in_a_verdict_on_the_screen(opened: Opened) -> None:
    demo = opened("demo --nodes 1")
    assert demo.end(280) == 0, demo.text()
    shown = demo.screen()
    assert any(line.startswith("✓ Passed: 1 member committed") for line in shown), demo.text()
    assert any(line.startswith("next: node.py up") for line in shown), demo.text()
