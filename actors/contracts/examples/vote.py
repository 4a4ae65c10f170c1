"""A vote: those whom the chair admits choose one of eight options, each with a weight."""

from raychain import (
    Address,
    Array,
    Cell,
    Event,
    Hash,
    Struct,
    Table,
    contract,
    ctx,
    emit,
    entry,
    init,
    range,
    require,
    u8,
    u64,
    view,
)

OPTIONS = u8(8)


class Poll(Struct):
    """What is asked. question: the hash of its text; closes_at: the first height without votes."""

    chair: Address
    question: Hash
    closes_at: u64


class Voter(Struct):
    """Somebody who was admitted; weight 0 is nobody."""

    weight: u64
    voted: bool
    option: u8


class Cast(Event):
    """A vote."""

    voter: Address
    option: u8
    weight: u64


@contract
class Vote:
    """Votes are final, and open to all."""

    poll: Cell[Poll]
    voters: Table[Address, Voter]
    tallies: Table[u8, u64]

    @init
    def start(self, question: Hash, closes_at: u64) -> None:
        """Who deploys it is the chair."""
        require(closes_at > ctx.height, "it would be closed already")
        self.poll.value = Poll(chair=ctx.sender, question=question, closes_at=closes_at)

    @entry
    def admit(self, who: Address, weight: u64) -> None:
        """The chair gives a voter a weight, until they have voted."""
        poll = self.poll.value
        require(ctx.sender == poll.chair, "only the chair admits")
        require(ctx.height < poll.closes_at, "the vote is closed")
        voter = self.voters[who]
        require(not voter.voted, "they have voted")
        self.voters[who] = voter.replace(weight=weight)

    @entry
    def vote(self, option: u8) -> None:
        """Choose an option, once."""
        require(ctx.height < self.poll.value.closes_at, "the vote is closed")
        require(option < OPTIONS, "there is no such option")
        voter = self.voters[ctx.sender]
        require(voter.weight > 0, "you are not admitted")
        require(not voter.voted, "you have voted")
        self.voters[ctx.sender] = voter.replace(voted=True, option=option)
        self.tallies[option] += voter.weight
        emit(Cast(voter=ctx.sender, option=option, weight=voter.weight))

    @view
    def results(self) -> Array[u64, 8]:
        """Weights by option."""
        weights = Array[u64, 8]()
        for option in range(OPTIONS):
            weights[option] = self.tallies[option]
        return weights

    @view
    def winner(self) -> tuple[u8, u64, bool]:
        """The option with the most weight, that weight, and whether another has as much."""
        best = u8(0)
        most = u64(0)
        tied = False
        for option in range(OPTIONS):
            weight = self.tallies[option]
            if weight > most:
                best = option
                most = weight
                tied = False
            elif weight == most and weight > 0:
                tied = True
        return best, most, tied

    @view
    def voter_of(self, who: Address) -> Voter:
        """What is known of a voter."""
        return self.voters[who]
