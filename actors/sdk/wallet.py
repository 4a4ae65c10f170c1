"""A key's wallet: transfers, calls and deployments with automatic nonces, each until its fate is known.

    async with AsyncClient(urls) as client, Wallet(client, signer) as wallet:
        sent = await asyncio.gather(*(wallet.transfer(bob, 100) for _ in range(10_000)))
        deployed = await wallet.deploy(Path("token.py"), {"supply": 1_000})
        token = await client.contract(deployed.address)
        called = await wallet.call(token, "transfer", {"to": bob, "amount": 5})

How they are sent, and why none is executed twice: sender.py. Of the calls SIMULATIONS_AT_ONCE are simulated
at the same time, since a gateway gives each client its share of simulations only.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from types import TracebackType

from actors.ledger.rows import NEVER_EXPIRES_HEIGHT
from actors.ledger.signing import Signer, Transfer
from actors.sdk.client import AsyncClient
from actors.sdk.contract import AsyncContract, PreparedCall, find_deployed_async, run_async
from actors.sdk.contract_interface import Arguments
from actors.sdk.contract_offers import WantedDeployment
from actors.sdk.contract_results import Called, DeployedContract
from actors.sdk.contract_steps import deployment_steps
from actors.sdk.sender import DEADLINE_S, INFLIGHT_MAX, Sent, TransactionSender, UnconfirmedError

SIMULATIONS_AT_ONCE = 4


class Wallet(TransactionSender):
    """What one key does. One wallet a key at a time is fast; more are safe."""

    def __init__(
        self,
        client: AsyncClient,
        signer: Signer,
        inflight_max: int = INFLIGHT_MAX,
        deadline_s: float = DEADLINE_S,
        jitter: random.Random | None = None,
    ) -> None:
        super().__init__(client, signer, inflight_max, deadline_s, jitter)
        self._simulations = asyncio.Semaphore(SIMULATIONS_AT_ONCE)

    async def __aenter__(self) -> Wallet:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.drain()
        await self.close()

    async def transfer(
        self,
        recipient: bytes,
        amount: int,
        fee: int = 1,
        payload: bytes = b"",
        expiry_height: int = NEVER_EXPIRES_HEIGHT,
    ) -> Sent:
        """Send coins and wait until they are there. Raises what `send` raises."""
        return await self.send(Transfer(recipient, amount, 0, fee, expiry_height, payload))

    async def call(
        self,
        contract: AsyncContract,
        function: str,
        arguments: Arguments = (),
        coins: int = 0,
        gas: int | None = None,
        simulate: bool = True,
    ) -> Called:
        """Call a contract and wait for what comes of it, which may be a failure that it paid for.

        It is simulated first, which tells its gas and fee. gas: the most that it may use; needed where
        nothing is simulated. Raises InterfaceError for arguments that do not fit, ContractFailedError for a
        call that would fail, and what `send` raises.
        """
        sender = self._signer.public_key

        async def prepare() -> PreparedCall:
            async with self._simulations:
                return await contract.prepare(function, arguments, sender, coins, gas, simulate)

        prepared = await self._until_answered(prepare)
        sent = await self.send(prepared.draft)
        called = await self._until_answered(lambda: contract.called(function, sent.id))
        if called is None:
            raise self._unconfirmed(sent)
        return called

    async def deploy(
        self,
        source: str | Path,
        arguments: Arguments = (),
        coins: int = 0,
        gas: int | None = None,
        simulate: bool = True,
    ) -> DeployedContract:
        """Compile a contract, deploy it with the arguments of its `@init`, and wait until it is there.

        source: its text, or its file. simulate: whether its `@init` is tried first. Raises LanguageError or
        ProgramError for what is no contract, InterfaceError for arguments that do not fit,
        ContractFailedError where `@init` fails, here or on the chain, and what `send` raises.
        """
        text = source.read_bytes().decode() if isinstance(source, Path) else source
        name = str(source) if isinstance(source, Path) else "contract.py"
        wanted = WantedDeployment(text, arguments, self._signer.public_key, coins, gas, simulate, name)
        genesis = await self._until_answered(self._client.genesis)
        prepared = await self._until_answered(
            lambda: run_async(self._client, deployment_steps(genesis, wanted))
        )
        sent = await self.send(prepared.draft)
        deployed = await self._until_answered(lambda: find_deployed_async(self._client, sent.id))
        if deployed is None:
            raise self._unconfirmed(sent)
        return deployed

    def _unconfirmed(self, sent: Sent) -> UnconfirmedError:
        """It is committed, but no gateway tells what came of it."""
        return UnconfirmedError(sent.id, sent.nonce, self._deadline_s)
