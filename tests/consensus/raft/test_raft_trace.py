"""The trace: what the TLA+ trace specification of etcd-io/raft can read, as whole files and line by line.

The files under `transcripts` are golden: rewrite them with
`RAYCHAIN_REWRITE_TRANSCRIPTS=1 pytest tests/consensus/raft`, and read the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors.consensus.raft import Configuration, Raft, TraceRecord, genesis, to_ndjson
from actors.consensus.raft.messages import AppendRequest
from actors.consensus.raft.trace import changes

from .lockstep import Lockstep, proposal
from .trace_specification import Specification
from .trace_state import UnreadableError

FOLDER = Path(__file__).parent / "transcripts"
REWRITE = os.environ.get("RAYCHAIN_REWRITE_TRANSCRIPTS") == "1"
Network = Callable[..., Lockstep]


def of_network(act: Callable[[Network], object]) -> list[bytes]:
    """The lines of what `act` does with the network that it is given the maker of."""
    lines: list[bytes] = []

    def note(record: TraceRecord) -> None:
        lines.append(to_ndjson(record, 1_000 + len(lines)))

    act(lambda **options: Lockstep(on_trace=note, **options))
    return lines


def election_and_writes(make: Network) -> None:
    network = make()
    network.elect(1)
    network.propose(1, 1, 2)
    network.run(60)


def leader_crash_and_restart(make: Network) -> None:
    network = make()
    network.elect(1)
    network.propose(1, 1)
    network.run(60)
    network.cut = {1}
    network.elect(2)
    network.propose(2, 2)
    network.cut = set()
    network.restart(1)
    network.run(60)
    network.propose(2, 3)


def alone(make: Network) -> None:
    network = make(voters=(1,))
    network.propose(1, 1, 2)
    network.restart(1)
    network.propose(1, 3)


def log_repair(make: Network) -> None:
    """A deposed leader returns with entries that nobody else has; then leadership is handed over."""
    network = make()
    network.elect(1)
    network.cut = {1}
    network[1].propose(proposal(9), network.now_ms)
    network.settle()
    network.elect(2)
    network.propose(2, 2, 3)
    network.cut = set()
    network.run(100)
    network[2].transfer_leadership(3)
    network.settle()


def split_vote(make: Network) -> None:
    """1 and 2 campaign at once while 3 is away; 2 gives up, and both try again."""
    network = make()
    network.cut = {3}
    for member in (1, 2):
        network[member]._campaign(transfer=False)
    network.settle()
    network.cut = set()
    network.run(1000)
    network.propose(network.leader().id, 1)


def slow_first_commit(make: Network) -> None:
    """Heartbeats are sent while one of five has acknowledged the first entry, which is not enough."""
    network = make(voters=(1, 2, 3, 4, 5))
    network.lost = lambda message: isinstance(message, AppendRequest) and message.to > 2
    network.elect(1)
    network.run(120)
    assert network[1].commit_index == 0
    network.lost = lambda message: False
    network.run(200)
    assert network[1].commit_index > 0
    network.propose(1, 1)


SCENARIOS = (
    election_and_writes,
    leader_crash_and_restart,
    alone,
    log_repair,
    split_vote,
    slow_first_commit,
)
GOLDEN = SCENARIOS[:2]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_specification_reads_a_network_s_lines(scenario: Callable[[Network], None]) -> None:
    Specification(of_network(scenario)).read()


@pytest.mark.parametrize("scenario", GOLDEN, ids=lambda scenario: scenario.__name__)
def test_the_trace_is_as_it_was(scenario: Callable[[Network], None]) -> None:
    path = FOLDER / f"{scenario.__name__}.ndjson"
    lines = of_network(scenario)
    if REWRITE:
        path.write_bytes(b"".join(lines))
    assert b"".join(lines) == path.read_bytes()
    Specification(path.read_bytes().splitlines()).read()


def test_every_golden_trace_has_its_scenario() -> None:
    assert {path.stem for path in FOLDER.glob("*.ndjson")} == {scenario.__name__ for scenario in GOLDEN}


def test_the_text_from_the_second_colon_sorts_joined_files() -> None:
    """As `validate.sh` does, on whatever order the members' files are joined in."""
    lines = of_network(election_and_writes)
    by_member = sorted(lines, key=lambda line: json.loads(line)["event"]["nid"])
    assert by_member != lines
    assert sorted(by_member, key=lambda line: line.split(b":", 2)[2]) == lines


# --- what was wrong once: the reader refuses it ------------------------------------------------------------


def events(lines: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line)["event"] for line in lines]


def lines_of(found: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps({"tag": "trace", "event": event}).encode() for event in found]


def named(found: list[dict[str, Any]], name: str, **of_message: object) -> int:
    """Where the first such event stands."""
    return next(
        number
        for number, event in enumerate(found)
        if event["name"] == name and of_message.items() <= event.get("msg", {}).items()
    )


def without_wrapper(found: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(event).encode() for event in found]


def without_own_vote(found: list[dict[str, Any]]) -> list[bytes]:
    del found[named(found, "SendRequestVoteResponse", to="1")]
    return lines_of(found)


def without_own_acknowledgement(found: list[dict[str, Any]]) -> list[bytes]:
    del found[named(found, "SendAppendEntriesResponse", to="1")]
    return lines_of(found)


def without_first_entry(found: list[dict[str, Any]]) -> list[bytes]:
    del found[named(found, "Replicate")]
    return lines_of(found)


def with_receipt_after_step_down(found: list[dict[str, Any]]) -> list[bytes]:
    at = named(found, "BecomeFollower")
    found[at - 1], found[at] = found[at], found[at - 1]
    return lines_of(found)


def with_commit_at_follower(found: list[dict[str, Any]]) -> list[bytes]:
    at = named(found, "ReceiveAppendEntriesRequest", to="2", commit=2)
    found.insert(at + 1, {key: kept for key, kept in found[at].items() if key != "msg"} | {"name": "Commit"})
    return lines_of(found)


def with_pre_candidate(found: list[dict[str, Any]]) -> list[bytes]:
    found[named(found, "BecomeCandidate") - 1]["role"] = "StatePreCandidate"
    return lines_of(found)


def with_commit_beyond_entries(found: list[dict[str, Any]]) -> list[bytes]:
    found[named(found, "SendAppendEntriesRequest", type="MsgApp")]["msg"]["commit"] = 9
    return lines_of(found)


MISTAKES = (
    without_wrapper,
    without_own_vote,
    without_own_acknowledgement,
    without_first_entry,
    with_receipt_after_step_down,
    with_commit_at_follower,
    with_pre_candidate,
    with_commit_beyond_entries,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_specification_refuses(mistake: Callable[[list[dict[str, Any]]], list[bytes]]) -> None:
    with pytest.raises((UnreadableError, KeyError, IndexError)):
        Specification(mistake(events(of_network(election_and_writes)))).read()


# --- single lines ------------------------------------------------------------------------------------------


def test_a_late_request_is_received_and_answered() -> None:
    found: list[TraceRecord] = []
    raft = Raft(2, genesis((1, 2, 3)), Random(2), 0, on_trace=found.append)
    raft.step(AppendRequest(1, 2, 5, 0, 0, 0, 1), 1)
    raft.step(AppendRequest(3, 2, 4, 0, 0, 0, 1), 2)
    assert [(record.name, record.term) for record in found[1:]] == [
        ("ReceiveAppendEntriesRequest", 0),
        ("BecomeFollower", 5),
        ("SendAppendEntriesResponse", 5),
        ("ReceiveAppendEntriesRequest", 5),
        ("SendAppendEntriesResponse", 5),
    ]


def test_a_change_of_members_is_told_and_ends_what_can_be_read() -> None:
    def change(make: Network) -> None:
        network = make(spares=(4,))
        network.elect(1)
        network.run(60)
        network[1].change_membership((1, 2, 3), (4,))
        network.settle()
        network.run(60)
        network[1].change_membership((1, 2, 4), ())
        network.settle()

    lines = of_network(change)
    found = events(lines)
    told = [event["prop"]["cc"]["changes"] for event in found if event["name"] == "ChangeConf"]
    assert told == [
        [{"nid": "4", "action": "AddLearner"}],
        [{"nid": "4", "action": "AddNewServer"}, {"nid": "3", "action": "RemoveServer"}],
    ]
    entered = [event for event in found if event["name"] == "ApplyConfChange" and event["nid"] == "1"]
    assert [event["prop"]["cc"]["newconf"] for event in entered][-2:] == [["1", "2", "4"]] * 2
    assert [event["conf"][1] for event in entered] == [[], ["1", "2", "3"], [], ["1", "2", "3"]]
    first = named(found, "ChangeConf")
    assert first <= Specification(lines).read_prefix() < len(lines)


def test_changes_in_the_specification_s_words() -> None:
    before = Configuration((1, 2, 3), (), (4,))
    after = Configuration((1, 4), (1, 2, 3), (2, 5))
    assert changes(before, after) == [
        {"nid": "4", "action": "AddNewServer"},
        {"nid": "2", "action": "AddLearner"},
        {"nid": "5", "action": "AddLearner"},
        {"nid": "3", "action": "RemoveServer"},
    ]
    assert changes(before, before) == []


def test_tracing_changes_nothing() -> None:
    traced: list[Lockstep] = []
    of_network(lambda make: traced.append(run_through(make())))
    silent = run_through(Lockstep())
    assert traced[0].delivered == silent.delivered
    assert traced[0].effects == silent.effects


def run_through(network: Lockstep) -> Lockstep:
    network.elect(1)
    network.propose(1, 1, 2)
    network.elect(2)
    network.propose(2, 3)
    network.run(100)
    return network
