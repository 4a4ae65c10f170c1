"""Commands on the data directory of a node that is not running: check. Import no Ray."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from actors.console import UserError, console, emit, explained
from actors.directory import ALLOCATION_FILE, GENESIS_FILE, KEY_FILE, DirectoryError
from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.rows import FormatError
from actors.storage.errors import StorageError

if TYPE_CHECKING:
    from actors.storage.disk import Disk

app = typer.Typer(no_args_is_help=True)
DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the network lives on disk.")]
NodeName = Annotated[str, typer.Option("--node", help="Which node of that directory; default: its only one.")]
Json = Annotated[bool, typer.Option("--json", help="Last line of stdout is one JSON object.")]
_MISTAKES = (DirectoryError, FormatError, StorageError)


@dataclass(frozen=True, slots=True)
class Place:
    """A node's directory in the data directory of its network."""

    genesis: Genesis
    allocation: Path
    database: Path


def place_of(data_dir: Path, node: str) -> Place:
    """Find a node's directory. Raises UserError naming what is missing or what there is to choose from."""
    if not (data_dir / GENESIS_FILE).exists():
        raise UserError(f"{data_dir}: no {GENESIS_FILE} there; give a network's data directory")
    names = sorted(path.parent.name for path in data_dir.glob(f"*/{KEY_FILE}"))
    if not node and len(names) != 1:
        raise UserError(f"{data_dir} holds the nodes {', '.join(names) or '(none)'}; choose one with --node")
    if node and node not in names:
        raise UserError(f"{data_dir} holds no node {node!r}, but {', '.join(names) or 'none at all'}")
    genesis = decode_genesis((data_dir / GENESIS_FILE).read_bytes())
    return Place(genesis, data_dir / ALLOCATION_FILE, data_dir / (node or names[0]) / "db")


def opened(place: Place, read_only: bool) -> Disk:
    """Open the database. Raises UserError when a node runs on it or never did."""
    from actors.storage.disk import Disk
    from actors.storage.errors import DirectoryInUseError

    if not place.database.is_dir():
        raise UserError(f"{place.database}: no database there; this node never ran")
    try:
        return Disk(place.database, read_only)
    except DirectoryInUseError as error:
        raise UserError(f"{error}; stop that node first") from None


@app.command("check")
@explained(*_MISTAKES)
def check_directory(data_dir: DataDir = Path("data"), node: NodeName = "", as_json: Json = False) -> None:
    """Check a stopped node's disk: every byte, every block executed again, every root recomputed.

    Names the first place that is wrong, and then exits with 1. Changes nothing.
    """
    from actors.directory import read_allocation
    from actors.shell import kernel_cache_dir
    from actors.storage.check import check, unopened
    from actors.storage.errors import CorruptionError
    from actors.validator.kernels import select

    place = place_of(data_dir, node)
    hash_rows = select("auto", kernel_cache_dir()).hash_rows
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("opening", total=None)
        try:
            disk = opened(place, read_only=True)
        except CorruptionError as error:
            result = unopened(error)
        else:
            try:
                result = check(
                    disk,
                    place.genesis,
                    lambda: read_allocation(place.allocation),
                    hash_rows,
                    lambda text, done: bar.update(task, description=f"{text} {done:,}"),
                )
            finally:
                disk.close()
    emit(result, as_json)
    if not result["ok"]:
        raise typer.Exit(1)
