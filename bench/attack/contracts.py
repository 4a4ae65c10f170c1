"""Attacks by contracts: programs that cost much to compile or to run, and code that wants out of its cell."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from actors.contracts.gas import Weights
from actors.execution.cells.compiler import ProgramCompiler
from actors.execution.cells.interface import CellError, CellLimits, CellReason
from actors.execution.cells.process import CellProcess
from actors.ledger.contract_payloads import Deployment, contract_address, encode_call
from actors.ledger.genesis import Genesis
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY, concatenate
from actors.ledger.signing import Signer, Transfer, development_signer, sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from bench.attack.cell_attempts import ATTEMPTING, ATTEMPTS, CellAttempt
from bench.attack.contract_bombs import COMPILE_BOMBS, RUN_BOMBS
from bench.attack.registry import AttackOutcome, AttackTarget, attack, judged
from bench.attack.submission import BUSY
from bench.contract_examples import deploy_fee, example_program

_CALLS_OF_A_TURN = 3
_BLOCKS_MIN = 3
_ENDED_S_MAX = 20.0
_TRYING = CellLimits(
    cpu_s=0.5, wall_s=2.0, memory_bytes=128 << 20, job_bytes_max=1 << 20, answer_bytes_max=1 << 20,
    restarts_max=len(ATTEMPTS),
)  # fmt: skip
_COMPILING = CellLimits(cpu_s=2.0, wall_s=20.0, job_bytes_max=1 << 20, answer_bytes_max=32 << 20)


@attack("contract-bombs", "contracts")
def contract_bombs(target: AttackTarget) -> AttackOutcome:
    """Deploy programs as dear as may be, to compile and to run, and call them with all the gas of a block."""
    with Client(target.urls[0]) as client:
        bombs = _Bombs(client, client.genesis(), target)
        first = bombs.height()
        deployed = bombs.deploy()
        until_s = time.monotonic() + target.seconds
        while time.monotonic() < until_s:
            bombs.call()
        last_s = time.monotonic() + _ENDED_S_MAX
        while bombs.height() < first + _BLOCKS_MIN and time.monotonic() < last_s:
            time.sleep(0.1)
        blocks, called = bombs.height() - first, bombs.called()
    told = ", ".join(f"{count} {what}" for what, count in bombs.seen.most_common(4))
    problem = "" if blocks >= _BLOCKS_MIN else f"{blocks} blocks meanwhile"
    pressed = "" if deployed and called else "no bomb was called, which has shown nothing"
    detail = f"{deployed} bombs deployed, {called} calls of them committed in {blocks} blocks; {told}"
    return judged(detail, problem or pressed)


class _Bombs:
    """What the attacker has on the chain. seen: what became of calls that were handed in."""

    def __init__(self, client: Client, genesis: Genesis, target: AttackTarget) -> None:
        self._client, self._genesis = client, genesis
        self._signers = [development_signer(genesis.network, number) for number in target.development[BUSY]]
        self._nonces = [self._nonce(signer) for signer in self._signers]
        self._first = list(self._nonces)
        self._addresses: list[bytes] = []
        self.seen: Counter[str] = Counter()

    def deploy(self) -> int:
        """Every bomb, by an account of its own, which makes no calls; how many are there."""
        for number, build in enumerate((*COMPILE_BOMBS.values(), *RUN_BOMBS.values())):
            signer = self._signers.pop()
            nonce, _ = self._nonces.pop(), self._first.pop()
            payload, address = Deployment(build(), b"").encode(), contract_address(signer.public_key, nonce)
            fee = deploy_fee(payload, self._genesis.prices)
            said = Transfer(address, 0, nonce, fee, payload=payload, kind=KIND_DEPLOY)
            try:
                answer = self._client.submit_one(
                    sign_transfer(signer, self._genesis.chain_tag, said), "committed"
                )
            except ApiError as error:
                self.seen[f"deployment {number}: {error}"] += 1
                continue
            if answer.get("status") == "committed":
                self._addresses.append(address)
        return len(self._addresses)

    def call(self) -> None:
        """A turn: some calls of each account, with the gas of a block each."""
        prices = self._genesis.prices
        fee = prices.fee_min + prices.block_gas_max // prices.gas_per_unit
        rows = []
        for turn in range(_CALLS_OF_A_TURN):
            for number, signer in enumerate(self._signers):
                address = self._addresses[(number + turn) % len(self._addresses)]
                said = Transfer(
                    address, 0, self._nonces[number] + turn, fee, payload=encode_call(0, b""), kind=KIND_CALL
                )
                rows.append(sign_transfer(signer, self._genesis.chain_tag, said))
        try:
            receipt = self._client.submit(concatenate(rows), "accepted")
            self.seen["calls taken"] += receipt.accepted
            self.seen["calls refused"] += len(receipt.rejected)
        except ApiError as error:
            self.seen[f"answers {error.status}"] += 1
        self._nonces = [self._nonce(signer) for signer in self._signers]

    def called(self) -> int:
        """Calls that are in blocks."""
        return sum(self._nonce(each) - first for each, first in zip(self._signers, self._first, strict=True))

    def height(self) -> int:
        """Of the chain."""
        return int(self._client.account(bytes(32))["height"])

    def _nonce(self, signer: Signer) -> int:
        return int(self._client.account(signer.public_key)["nonce"])


@attack("cell-escapes", "contracts")
def cell_escapes(_: AttackTarget) -> AttackOutcome:
    """Code in a cell tries sockets, files, processes, signals, memory, loops and lies; LLVM gets bombs."""
    with _nothing_left() as left:
        escaped, ended = _try_all()
        compiled = _compile_bombs()
    problems = [*escaped, *compiled, *left]
    told = ", ".join(f"{count} by {reason}" for reason, count in ended.most_common())
    return judged(f"{len(ATTEMPTS)} attempts and {len(COMPILE_BOMBS)} programs: cells ended {told}",
                  ", ".join(problems))  # fmt: skip


def _try_all() -> tuple[list[str], Counter[str]]:
    """What did not end as it must, and how children ended."""
    cell, wrong, ended = CellProcess(ATTEMPTING, _TRYING), [], Counter[str]()
    for name, expected in ATTEMPTS.items():
        reason: CellReason | None = None
        try:
            cell.run(CellAttempt(name, os.getpid()))
        except CellError as error:
            reason = error.reason
        ended[reason or "nothing: it may"] += 1
        if reason is not expected.ends:
            wrong.append(f"{name}: {reason}")
    cell.close()
    return wrong, ended


def _compile_bombs() -> list[str]:
    """What was not as it must be: bombs end at a limit, and then an honest program is compiled."""
    compiler, wrong = ProgramCompiler(None, _COMPILING), []
    for name, build in COMPILE_BOMBS.items():
        try:
            compiler.compile(build(), Weights())
            wrong.append(f"{name} was compiled")
        except CellError as error:
            if error.reason not in (CellReason.TIME, CellReason.MEMORY):
                wrong.append(f"{name}: {error}")
    if not compiler.compile(example_program("counter").program, Weights()):
        wrong.append("an honest program was not compiled")
    compiler.close()
    return wrong


@contextmanager
def _nothing_left() -> Iterator[list[str]]:
    """What is left of cells afterwards: processes, and files in memory."""
    shared = Path("/dev/shm")
    before: set[Any] = set(shared.glob("raychain-cell*"))
    left: list[str] = []
    yield left
    left += [f"process {each.pid} is left" for each in psutil.Process().children(recursive=True)]
    left += [f"{path} is left" for path in set(shared.glob("raychain-cell*")) - before]
