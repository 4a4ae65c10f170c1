"""`members repair-term`: on the data directory of a member that is not running. Imports no Ray."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import typer

from actors.cli.offline import DataDir, NodeName, opened, place_of
from actors.cli.options import Json
from actors.console import Summary, UserError, emit, explained
from actors.directory import DirectoryError
from actors.figures import figure
from actors.ledger.rows import FormatError
from actors.storage.errors import StorageError


def register(members_app: typer.Typer) -> None:
    """Add the command to those of `members`."""
    members_app.command("repair-term")(explained(DirectoryError, FormatError, StorageError)(repair_term))


def repair_term(data_dir: DataDir = Path("data"), node: NodeName = "", as_json: Json = False) -> None:
    """Bring a stopped member's term back to what its log supports, where a lie lifted it beyond elections.

    Only for a member whose `status` asks for it. Set the machine's clock right first: what elections can have
    reached is told by the age of the network.
    """
    from actors.consensus.raft.terms import term_ceiling
    from actors.consensus.raft_node.term_repair import TermRepairError
    from actors.consensus.raft_node.term_repair import repair_term as repaired
    from actors.storage.interface import LogRecord
    from actors.storage.raft_log import RaftLog

    place = place_of(data_dir, node)
    with opened(place, read_only=False) as disk:
        log = RaftLog(disk)
        try:
            repair = repaired(log.read(), term_ceiling(int(time.time() * 1000) - place.genesis.created_ms))
        except TermRepairError as error:
            raise UserError(str(error)) from None
        batch = disk.batch()
        log.put(batch, LogRecord(hard_state=repair.hard_state))
        batch.write(sync=True)
    told = {name: value for name, value in asdict(repair).items() if name != "hard_state"}
    name = place.database.parent.name
    summary = Summary(
        f"The term of {name} is what its log supports again.",
        "good",
        facts=[(key.replace("_", " "), figure(key, value)) for key, value in told.items()],
        following=["node.py up"],
    )
    emit({"node": name, **told}, as_json, summary=summary)
