"""House rules: who may import what, how long a file may be, and that the documents tell the truth."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Protocol

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parent.parent
ROOMS = ("peer", "mempool", "validator", "consensus", "storage", "gateway")
SOURCES = sorted([ROOT / "node.py", *(ROOT / "actors").rglob("*.py"), *(ROOT / "config").rglob("*.py")])
BENCHES = sorted((ROOT / "bench").rglob("*.py"))
TOP_LEVEL = {"pyproject.toml", "README.md", "node.py", "actors", "config", "tests", "bench"}
LINES_MAX = 450
# Storage's `interface.py` is what crosses to others: their cores may use it, and it needs the ledger alone.
# node.py and shells are where rooms meet; these pieces of a room are made for its neighbours' shells.
SHARED_BY_SHELLS = {
    "actors.validator.actor",
    "actors.validator.parts",
    "actors.validator.scaler",
    "actors.storage.calls",
}
CLOCKS = {
    *(f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter") for unit in ("", "_ns")),
    *("datetime.now", "os.urandom", "random.random", "secrets.token_bytes"),
}
# Functions that governors have signed, and whatever else is unpickled, are so in a cell alone.
PICKLE_IN_CELLS = {
    "actors/execution/cells/functions.py",
    "actors/execution/cells/function_source.py",
}
# Beside the shells: what holds sockets, what is a client's, and the one place where Consensus has its clocks.
LOOK_AT_CLOCKS = {
    "consensus/clocks.py",
    *(f"gateway/{name}.py" for name in ("edge_middleware", "listener", "readiness", "service")),
    "kernels/selection.py",
    *(f"peer/{name}.py" for name in ("discovery", "links", "spread", "wire_face")),
    *(f"sdk/{name}.py" for name in ("attempts", "delivery")),
}


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file's syntax, the file itself first."""
    return tuple(ast.walk(ast.parse(text_of(path))))


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    return tuple(_imports_of(path))


def _imports_of(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) if node.level else ""
            yield ".".join(part for part in (base, node.module or "") if part)


@pytest.fixture(autouse=True, scope="module")
def syntax_for_a_while() -> Iterator[None]:
    """What was parsed for these rules is not kept for the rest of a run."""
    yield
    for known in (text_of, nodes_of, imports_of):
        known.cache_clear()


def room_of(path: Path) -> str | None:
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "actors" and len(parts) > 2 and parts[1] in ROOMS else None


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def wrong(paths: Iterable[Path], of: Callable[[Path], object]) -> dict[str, object]:
    """What is wrong with each file with which something is."""
    paths = list(paths)
    assert paths, "a rule about no file"
    return {name_of(path): found for path in paths if (found := of(path))}


def test_only_shells_and_the_topology_import_ray() -> None:
    others = [path for path in SOURCES if path.name != "actor.py" and path != ROOT / "actors" / "topology.py"]
    assert not wrong(others, lambda path: [name for name in imports_of(path) if name.split(".")[0] == "ray"])


def foreign_rooms(path: Path) -> list[str]:
    room = room_of(path)
    return [
        name
        for name in imports_of(path)
        if name.startswith("actors.")
        and name.split(".")[1] in ROOMS
        and name.split(".")[1] != room
        and not name.endswith(".interface")
        and not (path.name == "actor.py" and any(name.startswith(shared) for shared in SHARED_BY_SHELLS))
    ]


def test_a_core_imports_the_ledger_and_its_own_room_only() -> None:
    assert not wrong([path for path in SOURCES if room_of(path)], foreign_rooms)


ENGINE_FOLDERS = ("raft", "raft_node")


@pytest.mark.parametrize(
    "path", [ROOT / "actors" / "faces.py", ROOT / "actors" / "storage" / "interface.py"], ids=name_of
)
def test_what_crosses_between_rooms_needs_the_ledger_alone(path: Path) -> None:
    imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("actors.")}
    assert imported <= {"ledger"}


def test_rooms_import_downwards_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True, no_logo=True) == EXIT_STATUS_SUCCESS


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("actors", "bench", "config", cache_dir=None)
    TopologicalSorter(
        {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    ).prepare()


def test_nobody_imports_the_command_line() -> None:
    assert not wrong([*SOURCES, *BENCHES], lambda path: "node" in imports_of(path))


def test_cores_are_told_the_time_and_draw_nothing_at_random() -> None:
    looking = set()
    rooms = [ROOT / "actors" / room for room in ("kernels", "ledger", "sdk", *ROOMS)]
    for path in (path for room in rooms for path in room.rglob("*.py") if path.name != "actor.py"):
        if CLOCKS & {ast.unparse(node) for node in nodes_of(path) if isinstance(node, ast.Attribute)}:
            looking.add(str(path.relative_to(ROOT / "actors")))
    assert looking == LOOK_AT_CLOCKS


def test_the_ledger_knows_no_clock() -> None:
    clocks = {"time", "datetime", "random", "secrets", "socket"}
    ledger = (ROOT / "actors" / "ledger").glob("*.py")
    assert not wrong(ledger, lambda path: clocks & set(imports_of(path)))


def test_only_the_chooser_knows_a_consensus_engine() -> None:
    engines = tuple(f"actors.consensus.{folder}" for folder in ENGINE_FOLDERS)
    others = [
        path
        for path in (ROOT / "actors" / "consensus").rglob("*.py")
        if path.parent.name not in ENGINE_FOLDERS and path.name != "engines.py"
    ]
    assert not wrong(others, lambda path: [name for name in imports_of(path) if name.startswith(engines)])


def test_a_quorum_is_defined_once() -> None:
    others = [path for path in SOURCES if path != ROOT / "actors" / "ledger" / "quorum.py"]
    again = wrong(others, lambda path: re.findall(r"//\s*2\s*\+\s*1\b", text_of(path)))
    assert not again, "ask actors/ledger/quorum.py"


def test_nothing_under_actors_imports_benchmarks_or_tests() -> None:
    others = [path for path in SOURCES if path != ROOT / "node.py"]
    foreign = {"bench", "tests"}
    assert not wrong(others, lambda path: foreign & {name.split(".")[0] for name in imports_of(path)})


def test_a_file_is_short_enough_to_read() -> None:
    assert not wrong(
        [*SOURCES, *BENCHES],
        lambda path: lines if (lines := len(text_of(path).splitlines())) > LINES_MAX else 0,
    )


def says_nothing(path: Path) -> bool:
    module = nodes_of(path)[0]
    assert isinstance(module, ast.Module)
    return bool(text_of(path)) and not ast.get_docstring(module)


def test_a_file_says_what_it_is() -> None:
    assert not wrong([*SOURCES, *BENCHES], says_nothing)


def test_nothing_is_left_unfinished() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    assert not wrong([*SOURCES, *BENCHES], lambda path: unfinished.findall(text_of(path)))


def swallowed(path: Path) -> list[int]:
    """Lines of handlers that do nothing."""
    handlers = (node for node in nodes_of(path) if isinstance(node, ast.ExceptHandler))
    return [each.lineno for each in handlers if len(each.body) == 1 and isinstance(each.body[0], ast.Pass)]


def test_nothing_is_swallowed() -> None:
    assert not wrong([*SOURCES, *BENCHES], swallowed)


def test_nothing_unpickles() -> None:
    pickles = {"pickle", "cloudpickle", "marshal", "shelve"}
    others = [path for path in SOURCES if name_of(path) not in PICKLE_IN_CELLS]
    assert not wrong(others, lambda path: pickles & set(imports_of(path)))
    modules = {name.removesuffix(".py").replace("/", ".") for name in PICKLE_IN_CELLS}
    assert not wrong(others, lambda path: modules & set(imports_of(path)))


def test_the_top_level_holds_the_agreed_names_only() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    generated = {"uv.lock", "data", "dist", "__pycache__"} | {p.name for p in ROOT.glob("*.egg-info")}
    assert visible - generated <= TOP_LEVEL


# What authors of contracts write: a table is a `Table`, and every token has its `Transfer`.
AUTHORED = ("actors/contracts/authoring/", "actors/contracts/examples/")


def test_a_class_name_has_one_meaning() -> None:
    classes = [
        (node.name, name_of(path))
        for path in (*SOURCES, *BENCHES)
        if not name_of(path).startswith(AUTHORED)
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    twice = Counter(name for name, _ in classes)
    assert [each for each in classes if twice[each[0]] > 1] == []


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    declared = tomllib.loads(text)["project"]["dependencies"]
    for requirement in declared:
        line = next(line for line in text.splitlines() if line.strip().startswith(f'"{requirement}"'))
        assert "#" in line, f"{requirement}: no reason given"
        assert "<" in requirement, f"{requirement}: no upper bound"


def test_the_codemap_names_what_exists() -> None:
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`((?:actors|bench|config|tests)/[\w/]*(?:\.\w+)?)`", text))
    assert named, "the README has no codemap"
    assert not [path for path in named if not (ROOT / path).exists()]
    for room in ("kernels", "ledger", *ROOMS):
        assert f"actors/{room}/" in text


def test_every_setting_is_bounded_or_explained() -> None:
    from actors.settings import Settings

    for section in Settings.model_fields.values():
        for name, field in section.annotation.model_fields.items():  # type: ignore[union-attr]
            plain = field.annotation in (bool, str)
            assert plain or field.metadata or "Literal" in str(field.annotation), f"{name} has no bound"


def test_light_actors_start_without_compilers_and_databases() -> None:
    """Every process of a node pays for what its shell imports: most need neither Numba nor RocksDB."""
    light = ("consensus.actor", "peer.actor", "validator.actor", "gateway.actor")
    code = (
        "import importlib, sys\n"
        f"for name in {light!r}: importlib.import_module('actors.' + name)\n"
        "print(sorted({'numba', 'rocksdict'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# Besides the adapter: who starts and ends actors, and the pool of Validators that come and go.
SAYS_REMOTE = {
    "actors/faces.py",
    "actors/topology.py",
    "actors/validator/actor.py",
    "actors/validator/scaler/actor.py",
}
FACES = {
    "actors.faces:ConsensusFace": "actors.consensus.actor:Consensus",
    "actors.faces:GatewayFace": "actors.gateway.actor:Gateway",
    "actors.faces:MempoolFace": "actors.mempool.actor:MempoolShard",
    "actors.faces:PeerFace": "actors.peer.actor:NodePeer",
    "actors.faces:ValidatorFace": "actors.validator.actor:Validator",
    "actors.storage.interface:StorageFace": "actors.storage.actor:Storage",
}


def named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def through_ray(method: Any) -> inspect.Signature:
    """The signature of an actor's method as its callers see it: it answers references."""
    signature, parts = inspect.signature(method), getattr(method, "__ray_num_returns__", 1)
    # Ray adds a word of its own to the methods of a class when the first of its actors starts.
    of_ours = [word for name, word in signature.parameters.items() if name != "_ray_trace_ctx"]
    signature, answer = signature.replace(parameters=of_ours), signature.return_annotation
    if parts == 1:
        return signature.replace(return_annotation=f"Awaitable[{answer}]")
    of_parts = ast.parse(answer, mode="eval").body
    assert isinstance(of_parts, ast.Subscript)
    assert isinstance(of_parts.slice, ast.Tuple)
    each = ", ".join(f"Awaitable[{ast.unparse(part)}]" for part in of_parts.slice.elts)
    return signature.replace(return_annotation=f"tuple[{each}]")


def without_references(method: Any) -> inspect.Signature:
    """What an actor sees of a face's method: values where its callers may hand in references."""
    signature = inspect.signature(method)
    return signature.replace(
        parameters=[
            parameter.replace(annotation=re.sub(r"^Ref\[(.*)\]$", r"\1", parameter.annotation))
            if isinstance(parameter.annotation, str)
            else parameter
            for parameter in signature.parameters.values()
        ]
    )


def test_an_actor_that_started_here_still_has_its_face() -> None:
    """The methods of a class carry Ray's own word once one of its actors began in this process."""

    class Started:
        def fence(self, deadline_ms: int, *, _ray_trace_ctx: Any = None) -> bool:
            return bool(deadline_ms)

    class Face(Protocol):
        def fence(self, deadline_ms: int) -> Awaitable[bool]: ...

    assert without_references(Face.fence) == through_ray(Started.fence)


@pytest.mark.parametrize("face", FACES)
def test_a_face_has_the_methods_of_its_actor(face: str) -> None:
    """The type checker holds callers to the face; this holds the face to the actor."""
    actor = named(FACES[face])
    methods = {name: method for name, method in vars(named(face)).items() if inspect.isfunction(method)}
    for name, method in methods.items():
        if not name.startswith("_"):
            assert without_references(method) == through_ray(getattr(actor, name)), name


def says_remote(path: Path) -> list[int]:
    """Lines that do."""
    attributes = (node for node in nodes_of(path) if isinstance(node, ast.Attribute))
    return [node.lineno for node in attributes if node.attr == "remote"]


def test_callers_hold_faces_and_one_adapter_says_remote() -> None:
    assert not wrong([path for path in SOURCES if name_of(path) not in SAYS_REMOTE], says_remote)
