"""What is taken is told before anything slow begins, with who has it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from actors import free_places
from actors.console import UserError
from actors.directory import NetworkDirectory, open_network
from actors.free_places import require_free
from actors.machine.ports import obstacle
from actors.settings import Settings
from actors.storage.disk import Disk, holder_of
from config.effective import load


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkDirectory:
    monkeypatch.setattr(free_places, "FREE_WITHIN_S", 0.0)
    settings = load("local", ["network.development_accounts=4"]).settings
    return open_network(tmp_path, settings.network, 2, lambda _: None)


def settings_of(port: int) -> Settings:
    return load("local", [f"gateway.port={port}"]).settings


def test_a_port_that_is_taken_is_named_with_its_setting_and_who_has_it(directory: NetworkDirectory) -> None:
    """It was errno 98, after fifteen seconds."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"(process {os.getpid()})" in obstacle("127.0.0.1", port)
        with pytest.raises(
            UserError, match=rf"port {port} \(gateway.port of node-1\) is taken by .*gateway.port=0"
        ):
            require_free(settings_of(port), directory, serve=True)
        with pytest.raises(UserError, match=rf"port {port} \(gateway.port of node-2\)"):
            require_free(settings_of(port - 1), directory, serve=True)
        require_free(settings_of(port), directory, serve=False)
    assert obstacle("127.0.0.1", port) == ""
    require_free(settings_of(0), directory, serve=True)


def test_a_folder_on_which_a_node_runs_is_named(directory: NetworkDirectory) -> None:
    disk = Disk(directory.nodes[1].path / "db")
    try:
        with pytest.raises(UserError, match=rf"in use by process {os.getpid()}: node-2 runs already"):
            require_free(settings_of(0), directory, serve=True)
    finally:
        disk.close()
    assert holder_of(directory.nodes[1].path / "db") == ""
    require_free(settings_of(0), directory, serve=True)
