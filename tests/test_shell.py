"""What the shells of all actors have in common."""

from __future__ import annotations

from pathlib import Path

from loguru import logger

from actors.settings import LogSettings
from actors.shell import ActorContext, configure_logs


def test_what_a_core_says_is_in_the_log_of_its_actor(tmp_path: Path) -> None:
    """Cores log by the module's logger, which knows neither node nor actor."""
    own = configure_logs(ActorContext("node-1", "peer", str(tmp_path), LogSettings()))
    own.info("by the shell")
    logger.warning("by a core: {}", 7)
    logger.remove()
    lines = (tmp_path / "logs" / "peer.log").read_text().splitlines()
    assert [line.split(" node-1 peer ")[1] for line in lines] == ["by the shell", "by a core: 7"]
