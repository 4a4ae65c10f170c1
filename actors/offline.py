"""Commands on the data directory of a node that is not running: check, snapshot. Import no Ray."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from actors.console import UserError, console, emit, explained
from actors.directory import ALLOCATION_FILE, GENESIS_FILE, KEY_FILE, DirectoryError, join_network
from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.rows import FormatError
from actors.storage.errors import StorageError

if TYPE_CHECKING:
    from actors.storage.chain import Chain
    from actors.storage.disk import Disk
    from actors.storage.snapshot_store import Kept

app = typer.Typer(no_args_is_help=True)
snapshot_app = typer.Typer(no_args_is_help=True, help="Snapshots of a stopped node's accounts.")
app.add_typer(snapshot_app, name="snapshot")
MANIFEST_FILE, HEADER_FILE, CHUNKS_FOLDER = "manifest", "header", "chunks"
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


@contextmanager
def _chain_of(place: Place) -> Iterator[Chain]:
    """The chain of a stopped node, recovered."""
    import time

    from actors.directory import read_allocation
    from actors.shell import kernel_cache_dir
    from actors.storage.chain import Chain
    from actors.validator.kernels import select

    disk = opened(place, read_only=False)
    try:
        yield Chain(
            disk,
            place.genesis,
            lambda: read_allocation(place.allocation),
            select("auto", kernel_cache_dir()).hash_rows,
            secrets.randbits(128),
            time.perf_counter_ns,
        )
    finally:
        disk.close()


@snapshot_app.command("create")
@explained(*_MISTAKES)
def snapshot_create(data_dir: DataDir = Path("data"), node: NodeName = "", as_json: Json = False) -> None:
    """Make a snapshot of the head. A running node makes its own every storage.snapshot_blocks blocks."""
    from actors.storage.housekeeping import head_at
    from actors.storage.snapshot_store import SnapshotStore, sealed_header

    with _chain_of(place_of(data_dir, node)) as chain:
        height = chain.head.height
        if not height:
            raise UserError("the chain has no block yet: a new node begins with the genesis as well")
        store = SnapshotStore(chain.disk, chain.genesis, chain.hash_rows)
        store.make(chain.state, height, sealed_header(chain.disk, height), head_at(chain, height))
        (made,) = [kept for kept in store.kept() if kept.height == height]
    emit(_told(made), as_json)


@snapshot_app.command("list")
@explained(*_MISTAKES)
def snapshot_list(data_dir: DataDir = Path("data"), node: NodeName = "", as_json: Json = False) -> None:
    """List the snapshots on disk."""
    from actors.ledger.hashing import sha256_rows
    from actors.storage.snapshot_store import SnapshotStore

    place = place_of(data_dir, node)
    disk = opened(place, read_only=True)
    try:
        kept = SnapshotStore(disk, place.genesis, sha256_rows).kept()
    finally:
        disk.close()
    emit({"snapshots": [_told(each) for each in kept]}, as_json)


@snapshot_app.command("export")
@explained(*_MISTAKES)
def snapshot_export(
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    data_dir: DataDir = Path("data"),
    node: NodeName = "",
    height: Annotated[int, typer.Option(help="Which one; default: the newest.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a snapshot, the header that proves it and the genesis to a folder that others can restore."""
    from actors.ledger.hashing import sha256_rows
    from actors.storage.snapshot_store import SnapshotStore, sealed_header
    from actors.storage.snapshots import decode_manifest

    place = place_of(data_dir, node)
    disk = opened(place, read_only=True)
    try:
        store = SnapshotStore(disk, place.genesis, sha256_rows)
        wanted = height or max(store.heights(), default=0)
        manifest = store.manifest(wanted)
        if manifest is None:
            raise UserError(f"no snapshot at height {height}; there are {store.heights() or 'none'}")
        sealed = sealed_header(disk, wanted)
        chunks = target / CHUNKS_FOLDER
        chunks.mkdir(parents=True)
        for entry in decode_manifest(manifest).entries:
            (chunks / entry.hash.hex()).write_bytes(store.chunk(entry.hash) or b"")
        (target / MANIFEST_FILE).write_bytes(manifest)
        (target / HEADER_FILE).write_bytes(sealed.encode() if sealed else b"")
        for file in (GENESIS_FILE, ALLOCATION_FILE):
            (target / file).write_bytes((data_dir / file).read_bytes())
        (told,) = [kept for kept in store.kept() if kept.height == wanted]
    except FileExistsError:
        raise UserError(f"{target} holds a snapshot already; choose another folder") from None
    finally:
        disk.close()
    emit({**_told(told), "folder": str(target)}, as_json)


@snapshot_app.command("restore")
@explained(*_MISTAKES)
def snapshot_restore(
    source: Annotated[Path, typer.Argument(help="A folder that `snapshot export` wrote.")],
    data_dir: DataDir = Path("data"),
    node: Annotated[str, typer.Option("--node", help="Name of the new node.")] = "observer",
    as_json: Json = False,
) -> None:
    """Begin a new node's directory with a snapshot, verified as it loads; then `up --join`."""
    from actors.shell import kernel_cache_dir
    from actors.storage.disk import Disk
    from actors.storage.snapshot_store import begin_with
    from actors.validator.kernels import select

    folder = join_network(data_dir, source, node).nodes[0]
    place = place_of(data_dir, node)
    for file in (MANIFEST_FILE, HEADER_FILE):
        if not (source / file).is_file():
            raise UserError(f"{source}: no file {file} there; give what `snapshot export` wrote")

    def read_chunk(digest: bytes) -> bytes | None:
        path = source / CHUNKS_FOLDER / digest.hex()
        return path.read_bytes() if path.is_file() else None

    disk = Disk(folder.path / "db")
    try:
        manifest = begin_with(
            disk,
            place.genesis,
            (source / MANIFEST_FILE).read_bytes(),
            (source / HEADER_FILE).read_bytes(),
            read_chunk,
            select("auto", kernel_cache_dir()).hash_rows,
        )
    finally:
        disk.close()
    root = manifest.state_root.hex()
    emit({"height": manifest.height, "accounts": manifest.accounts, "state_root": root}, as_json)


def _told(kept: Kept) -> dict[str, object]:
    return {**asdict(kept), "hash": kept.hash.hex()}
