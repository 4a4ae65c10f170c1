"""Typical calls of each example contract, from deployment on; no call of a mix fails."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from actors.contracts import examples
from actors.contracts.interpreter import Result, call, run_init
from actors.contracts.language import compile_source
from actors.contracts.running import CallContext
from actors.contracts.types import Slot
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld

GAS = 10_000_000
COINS = 1 << 60
ALICE, BOB, CAROL = (bytes((letter,)) * 32 for letter in b"abc")
THING, NOTE, SALT = (sha256(word).digest() for word in (b"thing", b"note", b"salt"))


def address_of(name: str) -> bytes:
    """Where an example is deployed; the token is where the exchange looks for it."""
    return name.encode().ljust(32, b"\x00")


class MixCall(NamedTuple):
    """One call. contract: the mix's own, if empty."""

    function: str
    sender: bytes
    slots: tuple[Slot, ...] = ()
    coins: int = 0
    height: int = 1
    contract: str = ""


class Mix(NamedTuple):
    """Calls of one contract. others: deployed first; before: calls that the steps build on, made once."""

    name: str
    steps: tuple[MixCall, ...]
    start: tuple[Slot, ...] = ()
    others: tuple[tuple[str, tuple[Slot, ...]], ...] = ()
    before: tuple[MixCall, ...] = ()


def _seal(who: bytes, amount: int) -> bytes:
    return sha256(who + amount.to_bytes(8, "little") + SALT).digest()


EXCHANGE, UNITS = address_of("exchange"), 1 << 40
MIXES = (
    Mix("counter", (MixCall("add", ALICE, (3,)), MixCall("add", BOB, (4,)), MixCall("value", ALICE))),
    Mix(
        "token",
        (
            *(MixCall("transfer", ALICE, (who, 5)) for who in (BOB, CAROL, BOB, CAROL)),
            MixCall("approve", ALICE, (BOB, 9)),
            MixCall("transfer_from", BOB, (ALICE, CAROL, 9)),
            MixCall("balance_of", BOB, (CAROL,)),
        ),
        start=(UNITS,),
    ),
    Mix(
        "registry",
        (
            MixCall("register", ALICE, (THING, NOTE)),
            MixCall("describe", ALICE, (THING, SALT)),
            MixCall("transfer", ALICE, (THING, BOB)),
            MixCall("owner_of", ALICE, (THING,)),
            MixCall("release", BOB, (THING,)),
        ),
    ),
    Mix(
        "escrow",
        (
            MixCall("open", ALICE, (1, BOB, 20), coins=10),
            MixCall("open", ALICE, (2, CAROL, 20), coins=10),
            MixCall("deal_of", BOB, (ALICE, 1)),
            MixCall("release", ALICE, (1,)),
            MixCall("refund", CAROL, (ALICE, 2), height=30),
        ),
    ),
    Mix(
        "exchange",
        (
            MixCall("buy", BOB, (0,), coins=1_000),
            MixCall("sell", ALICE, (1_000, 0)),
            MixCall("amount_out", BOB, (1_000, UNITS, UNITS)),
            MixCall("buy", CAROL, (0,), coins=5_000),
            MixCall("provide", ALICE, (2_000, 0), coins=1_000),
            MixCall("withdraw", ALICE, (500, 0, 0)),
        ),
        others=(("token", (UNITS,)),),
        before=(
            MixCall("approve", ALICE, (EXCHANGE, UNITS), contract="token"),
            MixCall("provide", ALICE, (UNITS // 4, 0), coins=UNITS // 4),
        ),
    ),
    Mix(
        "auction",
        (
            MixCall("bid", BOB, (_seal(BOB, 30),), coins=40),
            MixCall("bid", CAROL, (_seal(CAROL, 50),), coins=60),
            MixCall("reveal", BOB, (30, SALT), height=10),
            MixCall("reveal", CAROL, (50, SALT), height=10),
            MixCall("leader", ALICE, height=10),
            MixCall("withdraw", BOB, height=20),
            MixCall("withdraw", CAROL, height=20),
            MixCall("settle", ALICE, height=20),
        ),
        start=(10, 20),
    ),
    Mix(
        "vote",
        (
            MixCall("admit", ALICE, (BOB, 3)),
            MixCall("admit", ALICE, (CAROL, 4)),
            MixCall("vote", BOB, (2,)),
            MixCall("vote", CAROL, (5,)),
            MixCall("winner", ALICE),
        ),
        start=(NOTE, 10),
    ),
    Mix(
        "wallet",
        (
            MixCall("deposit", CAROL, coins=100),
            MixCall("propose", ALICE, (CAROL, 60)),
            MixCall("payment_of", BOB, (1,)),
            MixCall("confirm", BOB, (1,)),
        ),
        start=((ALICE, BOB, *(bytes(32),) * 6), 2),
    ),
)


class ExampleDeployment:
    """A mix in a world of its own."""

    def __init__(self, mix: Mix) -> None:
        self.world = MemoryWorld()
        self.world.balances = dict.fromkeys((ALICE, BOB, CAROL), COINS)
        for name, start in (*mix.others, (mix.name, mix.start)):
            self._deploy(name, start)
        for step in mix.before:
            self.run(self.prepared(mix, step))
        self.steps = [self.prepared(mix, step) for step in mix.steps]
        self._first = dict(self.world.entries), dict(self.world.balances)

    def _deploy(self, name: str, start: tuple[Slot, ...]) -> None:
        source = (Path(examples.__file__).parent / f"{name}.py").read_text()
        ready = verify(compile_source(source, f"{name}.py").program)
        context = CallContext(sender=ALICE, contract=address_of(name), origin=ALICE, height=1)
        data = ready.init.params.encode(start) if ready.init else b""
        result = run_init(ready, data, context, self.world, GAS)
        if result.failure is not None:
            raise RuntimeError(f"{name} is not deployed: {result.failure.name} {result.message}")
        self.world.programs[address_of(name)] = ready

    def prepared(self, mix: Mix, step: MixCall) -> tuple[Verified, str, bytes, CallContext]:
        """What the engine takes, and the world and gas besides."""
        address = address_of(step.contract or mix.name)
        program = self.world.programs[address]
        called = program.named(step.function)
        if called is None:
            raise RuntimeError(f"{mix.name} has no {step.function}")
        context = CallContext(
            sender=step.sender,
            contract=address,
            origin=step.sender,
            amount=step.coins,
            height=step.height,
        )
        return program, step.function, called.params.encode(step.slots), context

    def again(self) -> None:
        """Back to where the mix begins."""
        self.world.entries, self.world.balances = dict(self._first[0]), dict(self._first[1])

    def run(self, prepared: tuple[Verified, str, bytes, CallContext]) -> Result:
        """One call, with its coins. Raises RuntimeError if it fails."""
        program, function, arguments, context = prepared
        if context.amount:
            self.world.move(context.sender, context.contract, context.amount)
        result = call(program, function, arguments, context, self.world, GAS)
        if result.failure is not None:
            words = f"{result.failure.name} {result.message}"
            raise RuntimeError(f"{program.program.name}.{function} fails: {words}")
        return result
