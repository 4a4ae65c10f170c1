"""Golden transcripts: what replicas say to each other, line by line, in a few scenarios.

They are read in reviews: a change of the protocol shows as a change of these files. Rewrite them with
`RAYCHAIN_REWRITE_TRANSCRIPTS=1 pytest tests/consensus/raft`, and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.consensus.raft import Effects, Entry, EntryKind, Raft, Role
from actors.consensus.raft.messages import (
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
)

from .lockstep import Lockstep, proposal

FOLDER = Path(__file__).parent / "transcripts"
REWRITE = os.environ.get("RAYCHAIN_REWRITE_TRANSCRIPTS") == "1"


def told_entry(entry: Entry) -> str:
    if entry.kind is EntryKind.BLOCK:
        return f"{entry.term}/{entry.index} block {int.from_bytes(entry.digest, 'big')}"
    return f"{entry.term}/{entry.index} {entry.kind.name.lower()}"


def told_message(m: Message) -> str:
    fields = [f"term {m.term}"]
    if isinstance(m, AppendRequest):
        fields.append(f"after {m.prev_term}/{m.prev_index} commit {m.commit}")
        fields.append(f"[{', '.join(map(told_entry, m.entries))}]")
    elif isinstance(m, AppendResponse):
        fields.append(
            f"rejected at {m.index}, hint {m.hint_term}/{m.hint_index}" if m.rejected else f"match {m.index}"
        )
    else:
        hidden = {
            "sender",
            "to",
            "term",
            "sent_ms",
            "votes",
            "disk",
            "named",
            "candidate",
            "acknowledged",
            "reader",
        }
        shown = [name for name in m.__struct_fields__ if name not in hidden]
        fields += [f"{name} {getattr(m, name)}" for name in shown]
    return f"{m.sender} -> {m.to} {type(m).__name__}: {', '.join(fields)}"


class Transcript:
    """Writes down what a network does, without the heartbeats."""

    def __init__(self, network: Lockstep) -> None:
        self.network = network
        self.lines: list[str] = []
        self._messages = len(network.delivered)
        self._effects = {member: len(found) for member, found in network.effects.items()}
        self._roles: dict[int, Role] = {}

    def act(self, title: str, action: Callable[[], object]) -> None:
        self.lines.append(f"# {title}")
        action()
        self.network.settle()
        for message in self.network.delivered[self._messages :]:
            if not isinstance(message, HeartbeatRequest | HeartbeatResponse):
                self.lines.append(f"  {told_message(message)}")
        self._messages = len(self.network.delivered)
        for member, raft in self.network.replicas.items():
            for effects in self.network.effects[member][self._effects[member] :]:
                self._tell_effects(member, effects)
            self._effects[member] = len(self.network.effects[member])
            self.lines.append(f"  {member}: {self._tell_state(raft)}")

    def _tell_effects(self, member: int, effects: Effects) -> None:
        write = effects.write
        if write is not None and not write.is_barrier:
            hard = f"term {write.hard_state.term} vote {write.hard_state.vote} " if write.hard_state else ""
            written = ", ".join(map(told_entry, write.entries))
            self.lines.append(f"  {member} writes {hard}[{written}]")
        if effects.committed:
            self.lines.append(f"  {member} commits [{', '.join(map(told_entry, effects.committed))}]")

    def _tell_state(self, raft: Raft) -> str:
        configuration = raft.configuration
        joint = f" leaving {configuration.outgoing}" if configuration.is_joint else ""
        learners = f" learners {configuration.learners}" if configuration.learners else ""
        return (
            f"{raft.role.value}, term {raft.term}, last {raft.log.last_term}/{raft.log.last_index}, "
            f"commit {raft.commit_index}, voters {configuration.voters}{joint}{learners}"
        )


def election() -> Transcript:
    transcript = Transcript(Lockstep())
    transcript.act("the timer of 1 expires", lambda: transcript.network.elect(1))
    transcript.act("a proposal", lambda: transcript.network.propose(1, 7))
    return transcript


def log_repair() -> Transcript:
    network = Lockstep()
    network.elect(1)
    network.propose(1, 1)
    network.run(60)
    network.cut = {1}
    for number in (91, 92, 93):
        network[1].propose(proposal(number), network.now_ms)
    network.settle()
    network.elect(2)
    network.propose(2, 2, 3)
    transcript = Transcript(network)

    def reconnect() -> None:
        network.cut = set()
        network.run(100)

    transcript.act("the deposed leader 1 returns with three entries that nobody else has", reconnect)
    return transcript


def joint_change() -> Transcript:
    network = Lockstep(spares=(4,))
    network.elect(1)
    network.run(60)
    transcript = Transcript(network)

    def change(voters: tuple[int, ...], learners: tuple[int, ...]) -> None:
        network[1].change_membership(voters, learners)
        network.settle()
        network.run(60)

    transcript.act("4 joins as a learner", lambda: change((1, 2, 3), (4,)))
    transcript.act("4 takes the place of 3", lambda: change((1, 2, 4), ()))
    return transcript


def transfer() -> Transcript:
    network = Lockstep()
    network.elect(1)
    network.run(60)
    transcript = Transcript(network)
    transcript.act("1 hands over to 3", lambda: network[1].transfer_leadership(3))
    return transcript


SCENARIOS = (election, log_repair, joint_change, transfer)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_transcript_is_as_it_was(scenario: Callable[[], Transcript]) -> None:
    path = FOLDER / f"{scenario.__name__}.txt"
    told = "\n".join(scenario().lines) + "\n"
    if REWRITE:
        path.write_text(told)
    assert told == path.read_text()


def test_every_transcript_has_its_scenario() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {scenario.__name__ for scenario in SCENARIOS}
