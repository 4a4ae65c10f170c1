"""Who is heard, and whose word counts: members of the known configurations, by the disks that these name.

Membership. A message changes something only if its sender is a member of a configuration that may be in
force: the latest of the log, those before it back to the last that is known to be committed, and one that a
member told of. So a removed member's message changes nothing, whatever its term. A replica whose own log is
old may not know its leader: one that has heard no leader for a while asks all members that it knows for a
later committed configuration, believes a member's answer as far as hearing goes, and then hears that leader.
It never counts votes or acknowledgements by what it was told, only by its own log.

Terms. A message of a term above `term_ceiling`, which the shell raises with the age of the network (see
terms.py), changes nothing either, and nobody campaigns beyond it. A durable term up there ends a replica's
campaigns; `node.py members repair-term` brings it back to what its log supports.

Disks. A voter is a member *and* the disk on which it remembers what it voted for and acknowledged. `disk` is
16 random bytes that Storage made when it founded that memory: a folder that was emptied, copied or restored
has another. The configuration names the disk of each voter, and every message carries its sender's:

- Votes, acknowledgements and block votes count only from the disk that is named. So a voter that lost its
  memory is to the others one that is gone, and a new learner.
- A replica whose log names disks hears no candidate or leader whose log names none, and none from another
  disk than the one that it is named with. (A learner is named with none, and a replica that trails does not
  know yet that it was promoted: what it asks for is granted or refused by its log, as ever.)
- A replica campaigns only while its own disk is named. Its vote it may give to whoever asks: that counts
  where its disk is named, and there it has forgotten nothing.
- While a network is being founded, other rules hold, which founding.py has.
- A block vote goes into certificates, which name no disks: a replica signs only while `may_sign`.

Founding and readmission are the business of founding.py. A replica without a disk (`disk` is empty: some
tests) takes all of this as settled.
"""

from __future__ import annotations

from .effects import Role
from .messages import (
    AppendRequest,
    ConfigurationRequest,
    ConfigurationResponse,
    HeartbeatRequest,
    Message,
    PreVoteRequest,
    SnapshotRequest,
    TransferRequest,
    VoteRequest,
)
from .progress import Progress
from .records import Configuration
from .state import RaftState

# What is heard from the named disk alone: what candidates and leaders say, and who is a member.
OF_OFFICE = (
    AppendRequest,
    HeartbeatRequest,
    SnapshotRequest,
    TransferRequest,
    VoteRequest,
    PreVoteRequest,
    ConfigurationResponse,
)
NO_DISKS: frozenset[bytes] = frozenset()
TIMEOUTS_UNTIL_ASKING, TIMEOUTS_UNTIL_LAST_RESORT = 2, 4


class Identity(RaftState):
    """Members, disks, and what follows for a message."""

    # --- whom this replica hears -------------------------------------------------------------------------

    def _hears(self, m: Message) -> bool:
        """True if the message may change something here."""
        if self._heard is None:
            self._heard = self._whom_to_hear()
        disks = self._heard.get(m.sender)
        if disks is None:
            return False
        if not isinstance(m, OF_OFFICE) or not self.configuration.disks or m.sender in self.readmitted:
            return True
        return m.named and (not disks or m.disk in disks or not self.is_founded)

    def _whom_to_hear(self) -> dict[int, frozenset[bytes]]:
        """Members by id, with the disks that they are named with; NO_DISKS: heard from any."""
        known = self._configurations_known()
        heard: dict[int, frozenset[bytes]] = {}
        for member in {member for configuration in known for member in configuration.members()}:
            naming = [c for c in known if c.disks and member in c.members()]
            disks = {disk for configuration in naming if (disk := configuration.disk_of(member))}
            always = all(configuration.disk_of(member) for configuration in naming)
            heard[member] = frozenset(disks) if always else NO_DISKS
        return heard

    def _configurations_known(self) -> list[Configuration]:
        """Those of the log that may be in force, then what a member told of."""
        known: list[Configuration] = []
        for index, configuration in reversed(self.log.configurations):
            known.append(configuration)
            if index <= self.commit_index:
                break
        if self._told_index > self.log.configuration_index and self._told is not None:
            known.append(self._told)
        return known

    def _note_origin(self, m: Message) -> None:
        """A member's log names disks: this network is founded, and not by a replica whose log names none."""
        if m.named and self.disk and not self.configuration.disks and not self.founded_elsewhere:
            self.founded_elsewhere = True
            if self.role is not Role.FOLLOWER:
                self._become_follower(self.term, None)

    # --- a replica that trails asks who is a member now --------------------------------------------------

    def _ask_for_configuration(self) -> None:
        self._timeouts_without_leader += 1
        if self._timeouts_without_leader < TIMEOUTS_UNTIL_ASKING:
            return
        index = max(self.log.configuration_index, self._told_index)
        members = {member for known in self._configurations_known() for member in known.members()}
        for member in sorted(members - {self.id}):
            self._send(ConfigurationRequest(self.id, member, self.term, index))

    def _on_configuration_request(self, m: ConfigurationRequest) -> None:
        """Answered to anybody, since it changes nothing here."""
        committed = [known for known in self.log.configurations if known[0] <= self.commit_index]
        index, configuration = committed[-1]
        if self._told is not None and self._told_index > index:
            index, configuration = self._told_index, self._told
        if index > m.index:
            self._reply(ConfigurationResponse(self.id, m.sender, self.term, index, configuration))

    def _on_configuration_response(self, m: ConfigurationResponse) -> None:
        """Believed for hearing alone."""
        if m.index > max(self.log.configuration_index, self._told_index):
            self._told, self._told_index = m.configuration, m.index
            self._heard = None

    @property
    def is_out(self) -> bool:
        """True if the latest configuration that this replica knows of has no place for it."""
        return self.id not in self._configurations_known()[-1].members()

    # --- whose word counts -------------------------------------------------------------------------------

    def counts(self, member: int, disk: bytes) -> bool:
        """True if votes and acknowledgements of `member` from `disk` count in the configuration in force."""
        return self._counts_in(self.configuration, member, disk)

    def _counts_in(self, configuration: Configuration, member: int, disk: bytes) -> bool:
        named = configuration.disks
        return not named or member in self.readmitted or (bool(disk) and (member, disk) in named)

    @property
    def _electorates(self) -> list[Configuration]:
        """In each of these a majority is needed: in every founding entry of the log, while that may go on."""
        if self.is_founded or not self.configuration.disks:
            return [self.configuration]
        return [known for _, known in self.log.configurations if known.disks]

    @property
    def may_sign(self) -> bool:
        """True if this replica may vote for blocks: its disk is the one that the configuration names."""
        if not self.disk:
            return True
        configuration = self.configuration
        return bool(configuration.disks) and configuration.is_voter(self.id) and self._is_named(configuration)

    @property
    def is_promotable(self) -> bool:
        """True if this replica may campaign.

        That is who counts in the configuration in force, and, until that one is known to be committed, who
        counted in the one before: those may be the only ones whose logs are complete enough to win, though
        they work for a configuration without themselves (Raft dissertation, section 4.2.2).
        """
        if self.term >= self.term_ceiling or (self.founded_elsewhere and not self.configuration.disks):
            return False
        if self.configuration.is_voter(self.id):
            last_resort = not self.is_founded and self._timeouts_without_leader >= TIMEOUTS_UNTIL_LAST_RESORT
            return self._is_named(self.configuration) or last_resort
        configurations = self.log.configurations
        if configurations[-1][0] <= self.commit_index:
            return False
        return configurations[-2][1].is_voter(self.id) and self._is_named(configurations[-2][1])

    def _is_named(self, configuration: Configuration) -> bool:
        if not configuration.disks or self.id in self.readmitted:
            return True
        return configuration.disk_of(self.id) == self.disk

    def _progress_of(self, m: Message) -> Progress | None:
        """What is known of the replica that sent `m`; None if it is no member (any more).

        Another disk is another replica: what was known of the one before is forgotten. Of two that speak for
        one member at once, the one that is named is heard.
        """
        known = self._progress.get(m.sender)
        if known is None or known.disk == m.disk:
            return known
        if known.disk is not None:
            silent_ms = self.now_ms - known.heard_ms
            is_alive = known.counted and silent_ms <= self.options.election_timeout_ms_max
            if is_alive and not self.counts(m.sender, m.disk):
                return None
            # From the last entry on, so that there is something to ask with, should nothing else be said.
            first = max(self.log.last_index, self.log.base_index + 1)
            known = self._progress[m.sender] = Progress(first, self.now_ms)
        known.disk = m.disk
        known.counted = self.counts(m.sender, m.disk)
        return known

    def _recount(self) -> None:
        """Another configuration is in force: who counts in it?"""
        self._heard = None
        for member, known in self._progress.items():
            disk = self.disk if member == self.id else known.disk
            known.counted = disk is None or self.counts(member, disk)
        named = self.configuration.disk_of
        self.readmitted = {m: disk for m, disk in self.readmitted.items() if named(m) == disk}
