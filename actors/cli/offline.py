"""Commands on a node's data directory: check, snapshot. Import no Ray. Where the node runs it is asked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from actors.cli.options import Json, Verbose, read_file
from actors.cli.running import copied, maintained, runs
from actors.cli.summaries import check_summary, snapshot_summary, snapshots_summary
from actors.console import Summary, UserError, console, emit, explained
from actors.directory import (
    ALLOCATION_FILE,
    GENESIS_FILE,
    KEY_FILE,
    DirectoryError,
    genesis_in,
    join_network,
    read_allocation,
)
from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError
from actors.sdk.trust import GENESIS_VARIABLE, TrustError, read_genesis
from actors.storage.errors import StorageError

if TYPE_CHECKING:
    from actors.ledger.hashing import Hasher
    from actors.storage.chain import Chain
    from actors.storage.disk import Disk
    from actors.storage.snapshot_store import Kept

app = typer.Typer(no_args_is_help=True)
snapshot_app = typer.Typer(no_args_is_help=True, help="Snapshots of a node's accounts.")
app.add_typer(snapshot_app, name="snapshot")
MANIFEST_FILE, HEADER_FILE, CHUNKS_FOLDER = "manifest", "header", "chunks"
DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the network lives on disk.")]
NodeName = Annotated[str, typer.Option("--node", help="Which node of that directory; default: its only one.")]
Trusted = Annotated[
    Path | None,
    typer.Option(
        "--genesis",
        envvar=GENESIS_VARIABLE,
        help="The genesis that you trust: a genesis.json, or its folder.",
    ),
]
SEALED_BYTES_MAX, CHUNK_BYTES_MAX = 1 << 20, 64 << 20
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
    genesis = genesis_in(data_dir)
    return Place(genesis, data_dir / ALLOCATION_FILE, data_dir / (node or names[0]) / "db")


@contextmanager
def opened(place: Place, read_only: bool) -> Iterator[Disk]:
    """The database, while it is open. Raises UserError when a node runs on it or never did."""
    from actors.storage.disk import Disk
    from actors.storage.errors import DirectoryInUseError

    if not place.database.is_dir():
        raise UserError(f"{place.database}: no database there; this node never ran")
    try:
        disk = Disk(place.database, read_only)
    except DirectoryInUseError as error:
        raise UserError(f"{error}; stop that node first") from None
    try:
        yield disk
    finally:
        disk.close()


@app.command("check")
@explained(*_MISTAKES, TrustError)
def check_directory(
    data_dir: DataDir = Path("data"),
    node: NodeName = "",
    genesis: Trusted = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Check a node's disk: every byte, every block executed again, every root recomputed.

    Of a node that runs a copy is checked, which it makes beside its database, and which is removed then.
    Names the first place that is wrong, and then exits with 1. Changes nothing. The chain is judged by the
    genesis that you give, or else by the directory's own, which proves nothing of a directory from elsewhere.
    """
    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir
    from actors.storage.check import check, unopened
    from actors.storage.errors import CorruptionError

    place = place_of(data_dir, node)
    if genesis is not None and (trusted := read_genesis(genesis)).hash() != place.genesis.hash():
        raise UserError(
            f"{data_dir} is of ANOTHER NETWORK: its genesis is {place.genesis.hash().hex()}, the trusted one "
            f"{trusted.hash().hex()}"
        )
    hash_rows = select("auto", kernel_cache_dir()).hash_rows
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("opening", total=None)
        with ExitStack() as stack:
            running = runs(place.database)
            if running:
                folder = place.database.parent
                looked_at = replace(place, database=stack.enter_context(copied(folder, place.genesis)))
            else:
                looked_at = place
            try:
                disk = stack.enter_context(opened(looked_at, read_only=True))
            except CorruptionError as error:
                result = unopened(error)
            else:
                result = check(
                    disk,
                    place.genesis,
                    lambda: read_allocation(place.allocation),
                    hash_rows,
                    lambda text, done: bar.update(task, description=f"{text} {done:,}"),
                )
    trust = "data directory" if genesis is None else "file"
    told = {**result, "genesis": place.genesis.hash().hex(), "genesis_trust": trust}
    emit(told, as_json, summary=lambda: check_summary(told, place.database.parent, running), verbose=verbose)
    if not result["ok"]:
        raise typer.Exit(1)


@contextmanager
def _read(place: Place) -> Iterator[Disk]:
    """The database to read from: where its node runs, a copy."""
    with ExitStack() as stack:
        if runs(place.database):
            place = replace(place, database=stack.enter_context(copied(place.database.parent, place.genesis)))
        yield stack.enter_context(opened(place, read_only=True))


@contextmanager
def _chain_of(place: Place) -> Iterator[Chain]:
    """The chain of a stopped node, recovered."""
    import time

    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir
    from actors.storage.chain import Chain

    with opened(place, read_only=False) as disk:
        yield Chain(
            disk,
            place.genesis,
            lambda: read_allocation(place.allocation),
            select("auto", kernel_cache_dir()).hash_rows,
            secrets.randbits(128),
            time.perf_counter_ns,
        )


@snapshot_app.command("create")
@explained(*_MISTAKES)
def snapshot_create(data_dir: DataDir = Path("data"), node: NodeName = "", as_json: Json = False) -> None:
    """Make a snapshot of the head; where the node runs, it makes it.

    A running node also makes one of its own every storage.snapshot_blocks blocks.
    """
    from actors.storage.housekeeping import head_at
    from actors.storage.snapshot_store import SnapshotStore, sealed_header

    place = place_of(data_dir, node)
    name = place.database.parent.name
    if runs(place.database):
        told = maintained(place.database.parent, place.genesis, "snapshot")["snapshot"]
        emit(told, as_json, summary=lambda: snapshot_summary(told, data_dir, name))
        return
    with _chain_of(place) as chain:
        height = chain.head.height
        if not height:
            raise UserError("the chain has no block yet: a new node begins with the genesis as well")
        store = SnapshotStore(chain.disk, chain.genesis, chain.hash_rows)
        store.make(chain.state, height, sealed_header(chain.disk, height), head_at(chain, height))
        (made,) = [kept for kept in store.kept() if kept.height == height]
    emit(_told(made), as_json, summary=lambda: snapshot_summary(_told(made), data_dir, name))


@snapshot_app.command("list")
@explained(*_MISTAKES)
def snapshot_list(data_dir: DataDir = Path("data"), node: NodeName = "", as_json: Json = False) -> None:
    """List the snapshots on disk."""
    from actors.ledger.hashing import sha256_rows
    from actors.storage.snapshot_store import SnapshotStore

    place = place_of(data_dir, node)
    with _read(place) as disk:
        kept = [_told(each) for each in SnapshotStore(disk, place.genesis, sha256_rows).kept()]
    summary = snapshots_summary(kept, data_dir, place.database.parent.name)
    emit({"snapshots": kept}, as_json, summary=summary)


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
    with _read(place) as disk:
        store = SnapshotStore(disk, place.genesis, sha256_rows)
        wanted = height or max(store.heights(), default=0)
        manifest = store.manifest(wanted)
        if manifest is None:
            raise UserError(f"no snapshot at height {height}; there are {store.heights() or 'none'}")
        sealed = sealed_header(disk, wanted)
        chunks = target / CHUNKS_FOLDER
        try:
            chunks.mkdir(parents=True)
        except FileExistsError:
            raise UserError(f"{target} holds a snapshot already; choose another folder") from None
        for entry in decode_manifest(manifest).entries:
            (chunks / entry.hash.hex()).write_bytes(store.chunk(entry.hash) or b"")
        (target / MANIFEST_FILE).write_bytes(manifest)
        (target / HEADER_FILE).write_bytes(sealed.encode() if sealed else b"")
        for file in (GENESIS_FILE, ALLOCATION_FILE):
            (target / file).write_bytes((data_dir / file).read_bytes())
        (told,) = [kept for kept in store.kept() if kept.height == wanted]
    summary = Summary(
        f"The snapshot of height {wanted:,} is in {target}, with what proves it.",
        "good",
        following=[f"node.py snapshot restore {target} --genesis FILE  on another machine"],
    )
    emit({**_told(told), "folder": str(target)}, as_json, summary=summary)


@snapshot_app.command("restore")
@explained(*_MISTAKES, TrustError)
def snapshot_restore(
    source: Annotated[Path, typer.Argument(help="A folder that `snapshot export` wrote.")],
    data_dir: DataDir = Path("data"),
    node: Annotated[str, typer.Option("--node", help="Name of the new node.")] = "observer",
    genesis: Trusted = None,
    as_json: Json = False,
) -> None:
    """Begin a new node's directory with a snapshot, verified as it loads; then `up --join`.

    What comes with an archive proves nothing of it: it is judged by the genesis that you give, or by that of
    the data directory, if it holds the network already. The database is a new memory: a member that begins
    with it gets its vote back from the others.
    """
    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir
    from actors.storage.disk import Disk
    from actors.storage.snapshot_store import begin_with
    from actors.storage.snapshots import MANIFEST_BYTES_MAX

    trusted, trust = _trusted(genesis, data_dir, source)
    for file in (MANIFEST_FILE, HEADER_FILE):
        if not (source / file).is_file():
            raise UserError(f"{source}: no file {file} there; give what `snapshot export` wrote")
    hash_rows = select("auto", kernel_cache_dir()).hash_rows
    manifest = read_file(source / MANIFEST_FILE, MANIFEST_BYTES_MAX)
    header = read_file(source / HEADER_FILE, SEALED_BYTES_MAX)
    _check_archive(source, trusted, hash_rows)
    folder = join_network(data_dir, source, node).nodes[0]

    def read_chunk(digest: bytes) -> bytes | None:
        path = source / CHUNKS_FOLDER / digest.hex()
        return read_file(path, CHUNK_BYTES_MAX) if path.is_file() else None

    disk = Disk(folder.path / "db")
    try:
        begun = begin_with(disk, trusted, manifest, header, read_chunk, hash_rows)
    finally:
        disk.close()
    facts = {"height": begun.height, "accounts": begun.accounts, "state_root": begun.state_root.hex()}
    summary = Summary(
        f"{node} begins with height {begun.height:,}, verified against the genesis of a {trust}.",
        "good",
        facts=[("accounts", f"{begun.accounts:,}"), ("state root", begun.state_root.hex())],
        following=[f"node.py up --node {node} --join HOST:PORT --genesis {data_dir} --data-dir {data_dir}"],
    )
    emit({**facts, "genesis": trusted.hash().hex(), "genesis_trust": trust}, as_json, summary=summary)


def _trusted(given: Path | None, data_dir: Path, source: Path) -> tuple[Genesis, str]:
    """The genesis to judge an archive by, and whether it is from a file or the data directory."""
    if given is not None:
        return read_genesis(given), "file"
    if (data_dir / GENESIS_FILE).exists():
        return read_genesis(data_dir), "data directory"
    raise UserError(
        f"{source} comes with a genesis of its own, which proves nothing of it: say by --genesis FILE which "
        f"network you trust, or give a --data-dir that holds it ({data_dir} has no {GENESIS_FILE})"
    )


def _check_archive(source: Path, trusted: Genesis, hash_rows: Hasher) -> None:
    """Raises UserError unless an archive's documents are those of the trusted genesis."""
    from actors.storage.accounts import funded
    from actors.storage.state import build_tree

    own = read_genesis(source)
    if own.hash() != trusted.hash():
        raise UserError(
            f"{source} is of ANOTHER NETWORK: its genesis is {own.hash().hex()}, the trusted one "
            f"{trusted.hash().hex()}; nothing was restored"
        )
    allocation = read_allocation(source / ALLOCATION_FILE)
    root = build_tree(funded(allocation.keys, allocation.balances), hash_rows).root
    if root.hex() != trusted.state_root:
        raise UserError(f"{source / ALLOCATION_FILE}: not the first balances of the trusted genesis")


def _told(kept: Kept) -> dict[str, object]:
    return {**asdict(kept), "hash": kept.hash.hex()}
