"""What the demo offers: signed transfers, or of a token that it deploys and gives to all senders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.console import UserError, console
from actors.contracts.verifier import verify
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import Batch
from actors.ledger.signing import development_signer, sign_rows
from actors.sdk.client import Client
from actors.settings import Settings
from actors.storage.interface import VALUES_KEYS_MAX
from bench.contract_speed.deployed import DEPLOYER, CallMaker, call_fee_of, numbers, part_of
from bench.generators import run_plans
from bench.load import LoadPlan
from bench.token_load import TokenPlan
from bench.transfers import SignPlan
from bench.workload import SignedPool, open_pool

CONCURRENCY = 16
HELPERS = 100
"""Development accounts that give the others their tokens; the first of them deploys."""
TOKENS_EACH, SUBMITTED_ROWS = 1 << 40, 1_000


class TransferPool:
    """Signed transfers in files, extended as needed, each row offered once. Its senders are development
    accounts, from `first_account` on; their nonces are alike."""

    first_account = 0

    def __init__(self, scratch: Path, genesis: Genesis, client: Client) -> None:
        self._scratch, self._genesis = scratch, genesis
        self._accounts = genesis.accounts - self.first_account
        self._open(client)
        self._first_nonce = self._nonce_of_all(client)
        self._signed = 0
        self._files: list[tuple[str, int]] = []

    def _open(self, client: Client) -> None:
        """What is to be committed before the first row."""

    def _nonce_of_all(self, client: Client) -> int:
        """Nonce to begin with: on a directory that has seen a demo, after those that were used."""
        sample = range(self.first_account, self._genesis.accounts, max(1, self._accounts // 64))
        nonces = {self._nonce_of(client, number) for number in sample}
        if len(nonces) != 1:
            raise RuntimeError(
                "the development accounts have been used by hand; take a fresh --data-dir for demo"
            )
        return nonces.pop()

    def _nonce_of(self, client: Client, number: int) -> int:
        return int(client.account(development_signer(self._genesis.network, number).public_key)["nonce"])

    def extend(self, rows: int) -> None:
        """Sign at least `rows` more, in whole rounds of all accounts, with two processes."""
        rounds = -(-rows // self._accounts)
        count = rounds * self._accounts
        half = rounds // 2 * self._accounts
        plans = []
        for number, (start, size) in enumerate(((0, half), (half, count - half))):
            path = str(self._scratch / f"pool-{self._signed}-{number}.npy")
            place = (self._accounts, self._signed + start, size, self._first_nonce, self.first_account)
            plans.append(SignPlan(path, self._genesis.network, self._genesis.chain_tag, *place))
        plans = [plan for plan in plans if plan.count]
        run_plans(self._scratch, [self._plan(plan) for plan in plans])
        merged = str(self._scratch / f"pool-{self._signed}.npy")
        _merge([plan.path for plan in plans], merged)
        self._files.append((merged, count))
        self._signed += count

    def _plan(self, transfers: SignPlan) -> SignPlan | TokenPlan:
        return transfers

    def load(self, url: str, settings: Settings, mode: Any, rate_tps: float = 0) -> dict[str, Any]:
        """Offer the rows of the newest file, all of them, so that the next file's nonces follow."""
        path, count = self.newest()
        plan = LoadPlan(url, path, 0, count, settings.demo.batch_rows, mode, rate_tps, CONCURRENCY)
        return run_plans(self._scratch, [plan])[0]

    def newest(self) -> tuple[str, int]:
        """The file that was signed last, and how many rows it holds."""
        return self._files[-1]

    def sample(self) -> tuple[str, int]:
        """A file of signed rows and how many it holds."""
        return self._files[0]


class TokenPool(TransferPool):
    """The same with a token of its own, of which each sender has TOKENS_EACH."""

    first_account = HELPERS

    def _open(self, client: Client) -> None:
        genesis = self._genesis
        if genesis.accounts <= 2 * HELPERS:
            raise UserError(
                f"{genesis.accounts} development accounts: --contracts needs more than {2 * HELPERS}, "
                "set network.development_accounts"
            )
        self._signers = [development_signer(genesis.network, number) for number in range(genesis.accounts)]
        self.keys = np.frombuffer(b"".join(s.public_key for s in self._signers), np.uint8).reshape(-1, 32)
        place = (genesis.block_transactions_max, genesis.prices, genesis.chain_tag)
        maker = CallMaker(self.keys, *place, sha256_rows)
        for number in range(HELPERS):
            maker.nonces[number] = self._nonce_of(client, number)
        self.supply = TOKENS_EACH * genesis.accounts
        self.token = maker.deploy_example("token", self.supply)
        console.print(f"deploying a token, and giving it to {self._accounts:,} accounts")
        self._commit(client, maker.deployments(), np.zeros(1, dtype=np.int64))
        helpers = np.arange(1, HELPERS)
        senders = np.arange(HELPERS, genesis.accounts)
        of_helpers = 1 + senders % (HELPERS - 1)
        theirs = np.bincount(of_helpers, minlength=HELPERS)[1:].astype(np.uint64) * np.uint64(TOKENS_EACH)
        self._give(client, maker, np.full(HELPERS - 1, DEPLOYER), helpers, theirs)
        order = np.argsort(of_helpers, kind="stable")
        self._give(client, maker, of_helpers[order], senders[order], TOKENS_EACH)

    def _give(
        self,
        client: Client,
        maker: CallMaker,
        who: NDArray[np.int64],
        to: NDArray[np.int64],
        amounts: NDArray[np.uint64] | int,
    ) -> None:
        columns = [self.keys[to], numbers(amounts, len(to))]
        self._commit(client, maker.calls(self.token, "transfer", who, columns), who)

    def _commit(self, client: Client, batch: Batch, who: NDArray[np.int64]) -> None:
        """Have rows of these accounts committed. Raises RuntimeError where one is refused."""
        sign_rows(batch.rows, self._signers, who)
        for start in range(0, len(batch), SUBMITTED_ROWS):
            part = part_of(batch, start, start + SUBMITTED_ROWS)
            receipt = client.submit(part, wait="committed")
            if receipt.rejected:
                raise RuntimeError(f"a call that opens the demo was refused: {receipt.rejected[0]}")

    def _plan(self, transfers: SignPlan) -> TokenPlan:
        program = self.token.program
        weighed = program._replace(verified=verify(program.verified.program, self._genesis.weights))
        function = weighed.function("transfer")
        fee = call_fee_of(function, self._genesis.prices, entries=0)
        return TokenPlan(transfers, self.token.address.hex(), function.number, fee)

    def held(self, node: Any) -> int:
        """Tokens of all accounts together, as a node's state has them."""
        keys = self.token.entry_keys("balances", self.keys, sha256_rows)
        total = 0
        for start in range(0, len(keys), VALUES_KEYS_MAX):
            some = [key.tobytes() for key in keys[start : start + VALUES_KEYS_MAX]]
            values = node.call("storage", "state_values", some).values
            total += sum(int.from_bytes(value, "little") for value in values)
        return total


def _merge(paths: list[str], target: str) -> None:
    parts = [open_pool(path) for path in paths]
    columns = zip(*((part.rows, part.payloads, part.kinds) for part in parts), strict=True)
    SignedPool(*map(np.concatenate, columns)).save(target)
    for path in paths:
        for written in Path(path).parent.glob(f"{Path(path).stem}.*"):
            written.unlink()
