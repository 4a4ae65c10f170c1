"""A whole node in memory for the gateway's tests: real blocks, roots, votes and proofs, no Ray, no disk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from numpy.typing import NDArray

from actors.gateway.backend import UnavailableError
from actors.gateway.membership import Membership
from actors.gateway.node_health import NodeHealth
from actors.gateway.service import Service
from actors.ledger import accounts, merkle, rules
from actors.ledger.block import Block, Certificate, Header, InclusionProof, sign_proposal, sign_vote
from actors.ledger.checks import static_verdicts
from actors.ledger.delta import AccountState, AccountStates, ChainHead, Delta
from actors.ledger.environment import Environment
from actors.ledger.genesis import GENESIS_VERSION, Genesis, Member
from actors.ledger.hashing import sha256_rows
from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberChanged, MemberStanding
from actors.ledger.pending import SenderPending
from actors.ledger.receipts import RECEIPT_BYTES, ReceiptProof, Receipts
from actors.ledger.rows import KIND_TRANSFER, ROW_BYTES, ROW_DTYPE, SIGNED_BYTES, Batch, concatenate
from actors.ledger.signing import Signer, Transfer, development_signer, sign_transfer
from actors.ledger.verdict import Verdict
from actors.settings import GatewaySettings
from actors.storage.interface import (
    VALUES_KEYS_MAX,
    AccountProof,
    FunctionRefusal,
    RetainedHeights,
    StateValues,
    StorageFace,
    StoredTransaction,
    TransactionPlace,
)
from tests.standing_for import standing_for

ACCOUNTS = 8
BALANCE = 1_000_000
SENDERS = [development_signer("test", number) for number in range(ACCOUNTS)]
PROPOSER = Signer(b"p" * 32)


def genesis_of(state: accounts.State) -> Genesis:
    return Genesis(
        version=GENESIS_VERSION,
        network="test",
        created_ms=0,
        members=[Member(name="a", identity=PROPOSER.public_key.hex())],
        accounts=len(state),
        supply=accounts.supply(state),
        state_root=accounts.state_root(state).hex(),
        block_transactions_max=1000,
        block_payload_bytes_max=1 << 20,
        fee_min=0,
        balance_min=1,
    )


def _receipts(batch: Batch, outcome: rules.Outcome) -> Receipts:
    """As Storage keeps them."""
    rows = b"".join(receipt[:RECEIPT_BYTES] for receipt in outcome.receipts)
    outputs = tuple(
        applied.output(at)
        for at, (applied, kind) in enumerate(zip(outcome.applied, batch.rows["kind"], strict=True))
        if kind != KIND_TRANSFER
    )
    return Receipts(np.frombuffer(rows, dtype=np.uint8).reshape(-1, RECEIPT_BYTES), outputs)


class FakeShard:
    """Admission by the plain rules: static checks, signature, nonce window, duplicates."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.pending: list[Batch] = []
        self.calls: list[tuple[int, bool]] = []
        self.sources: set[str] = set()
        self.away = False
        self.parks = False  # takes rows behind a gap, though it forgets them

    async def __call__(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool,
        sources: Sequence[str],
        origins: NDArray[np.uint16] | None,
    ) -> NDArray[np.uint8]:
        if self.away:
            raise UnavailableError("mempool shard")
        self.calls.append((len(rows), durable))
        self.sources |= set(sources) if origins is None else {sources[place] for place in origins}
        batch = Batch(rows, payloads)
        verdicts = static_verdicts(
            batch, self.node.genesis.chain_tag, self.node.height + 1, self.node.genesis.prices
        )
        for index in range(len(batch)):
            single = batch.take(np.array([index]))
            if verdicts[index] == Verdict.OK:
                verdicts[index] = self._admit(single)
        await asyncio.sleep(0)
        return verdicts

    async def health(self) -> dict[str, Any]:
        if self.away:
            raise UnavailableError("mempool shard")
        return {"actor": "mempool", "depth": len(self.pending), "inflight": 0, "capacity": 100}

    async def pending_of(self, key: bytes) -> SenderPending:
        own = [single.rows for single in self.pending if single.rows["sender"].tobytes() == key]
        rows = np.concatenate(own) if own else np.empty(0, dtype=ROW_DTYPE)
        nonce = self.node.state.get(key, accounts.Account()).nonce
        states = np.zeros(len(rows), dtype=np.uint8)
        return SenderPending(self.node.height, nonce, nonce + len(rows), rows, states)

    def _admit(self, single: Batch) -> Verdict:
        raw = single.rows.tobytes()
        sender, nonce = single.rows["sender"].tobytes(), int(single.rows["nonce"][0])
        try:
            VerifyKey(sender).verify(raw[:SIGNED_BYTES], raw[SIGNED_BYTES:ROW_BYTES])
        except BadSignatureError:
            return Verdict.BAD_SIGNATURE
        if any(other.rows.tobytes() == raw for other in self.pending):
            return Verdict.DUPLICATE
        own = sum(other.rows["sender"].tobytes() == sender for other in self.pending)
        expected = self.node.state.get(sender, accounts.Account()).nonce + own
        if self.parks and nonce > expected:
            return Verdict.PARKED
        if nonce != expected:
            return Verdict.NONCE_REUSED if nonce < expected else Verdict.NONCE_GAP
        self.pending.append(single)
        return Verdict.OK


class FakeNode:
    """Shards, a chain of real blocks, Storage's reads, and the service over them."""

    def __init__(self, shards: int = 2, **settings: Any) -> None:
        self.state: accounts.State = {s.public_key: accounts.Account(0, BALANCE) for s in SENDERS}
        self.entries: accounts.Entries = {}
        self.history = {0: self.encoded()}
        self.genesis = genesis_of(self.state)
        self.height, self.parent = 0, self.genesis.hash()
        self.blocks: dict[int, Block] = {}
        self.votes: dict[int, bytes] = {}
        self.stored_receipts: dict[int, Receipts] = {}
        self.deltas: dict[int, Delta] = {}
        self.where: dict[bytes, tuple[int, int]] = {}
        self.away = False
        self.time_ms = 1_700_000_000_000
        self.reads = 0
        self.validators = 2
        self.shards = [FakeShard(self) for _ in range(shards)]
        self.settings = GatewaySettings(
            **{"single_wait_ms": 0, "commit_timeout_s": 60, "gap_grace_ms": 1, **settings}
        )
        health = {f"mempool-{i}": shard.health for i, shard in enumerate(self.shards)}
        self.service = Service(
            self.settings,
            self.genesis,
            self.shards,
            standing_for(StorageFace, self, "commit"),
            self.status_of_node,
            1,
            neighbours=NodeHealth({**health, "storage": self.health}, self.peers, self.scale_validators),
            read_index=self.read_index,
            pending=[shard.pending_of for shard in self.shards],
        )

    def transfer(self, sender: int, nonce: int, amount: int = 5, **fields: Any) -> Batch:
        to = SENDERS[(sender + 1) % ACCOUNTS].public_key
        return sign_transfer(SENDERS[sender], self.genesis.chain_tag, Transfer(to, amount, nonce, **fields))

    def encoded(self) -> dict[bytes, bytes]:
        """The leaves of the state."""
        return {key: account.encode() for key, account in self.state.items()} | self.entries

    def commit(self, publish: bool = True) -> Block:
        """One block of everything pending; its delta goes to the service unless it gets lost."""
        batch = concatenate([single for shard in self.shards for single in shard.pending])
        for shard in self.shards:
            shard.pending = []
        self.height += 1
        genesis, proposer = self.genesis, PROPOSER.public_key
        env = Environment(genesis.chain_tag, self.height, proposer, genesis.prices, self.time_ms)
        outcome = rules.apply_batch(self.state, batch, env, self.entries)
        assert set(outcome.verdicts) <= {Verdict.OK}
        ids = batch.ids()
        header = Header(
            self.height,
            1,
            self.time_ms,
            len(batch),
            len(batch.payloads),
            self.parent,
            merkle.root(ids),
            accounts.state_root(self.state, self.entries),
            rules.receipts_root(outcome.receipts),
            PROPOSER.public_key,
        )
        self.parent = header.hash()
        block = Block(header, sign_proposal(PROPOSER, self.genesis.hash(), self.parent), batch)
        self.blocks[self.height] = block
        vote = (PROPOSER.public_key, sign_vote(PROPOSER, self.genesis.hash(), header, 1))
        self.votes[self.height] = Certificate(1, (vote,)).encode()
        self.stored_receipts[self.height] = _receipts(batch, outcome)
        self.history[self.height] = self.encoded()
        self.where.update({tx.tobytes(): (self.height, i) for i, tx in enumerate(ids)})
        self.deltas[self.height] = self._delta(block)
        if publish:
            self.publish(self.height)
        return block

    def commit_one(self) -> int:
        """A block of one new transaction of account 4, which no gateway hears of yet; its height."""
        self.shards[0].pending = [self.transfer(4, self.state[SENDERS[4].public_key].nonce)]
        return self.commit(publish=False).header.height

    def publish(self, height: int) -> None:
        self.service.committed(self.delta(height))

    def delta(self, height: int) -> Delta:
        """What Storage published of a block."""
        return self.deltas[height]

    def _delta(self, block: Block) -> Delta:
        rows = block.batch.rows
        touched = {row.tobytes() for name in ("sender", "recipient") for row in rows[name]}
        keys = sorted(touched | {PROPOSER.public_key})
        held = [self.state.get(key, accounts.Account()) for key in keys]
        header = block.header
        states = AccountStates(
            header.height,
            np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32),
            np.array([account.nonce for account in held], dtype=np.uint64),
            np.array([account.balance for account in held], dtype=np.uint64),
        )
        facts = header.time_ms, header.hash(), header.state_root
        return Delta.of_accounts(states, *facts, block.batch.ids())

    async def health(self) -> dict[str, Any]:
        self._read()
        return {"actor": "storage", "pid": 7, "rss_mb": 80.5, "cpu_s": 1.5, "uptime_s": 3.0}

    async def peers(self) -> list[dict[str, Any]]:
        self._read()
        return [
            {
                "identity": "ab" * 32,
                "address": "127.0.0.1:1",
                "state": "active",
                "member": True,
                "rtt_ms": 1.5,
            }
        ]

    async def scale_validators(self, count: int) -> dict[str, Any]:
        self._read()
        names = [f"validator-{n}" for n in range(max(count, self.validators))]
        added, removed = names[self.validators :], names[count:]
        self.validators = count
        return {"validators": count, "added": added, "removed": removed}

    def _read(self) -> None:
        self.reads += 1
        if self.away:
            raise UnavailableError("storage")

    async def status_of_node(self) -> dict[str, Any]:
        self._read()
        return {
            "height": self.height,
            "role": "leader",
            "hash": self.parent,
            "validators": self.validators,
            "validator_pool": {"chunks_waiting": 0, "us_per_row": 4.5},
            "stages_us_per_tx": {"draw": 0.4, "transition": 0.7, "persist": 1.1},
        }

    async def snapshot_now(self) -> dict[str, object]:
        self._read()
        return {"height": self.height, "hash": "ab" * 32, "accounts": len(self.state)} if self.height else {}

    async def copy_database(self) -> str:
        self._read()
        return "db.copy"

    async def refused_functions(self) -> list[FunctionRefusal]:
        return []

    async def head(self) -> ChainHead:
        self._read()
        root = accounts.state_root(self.state, self.entries)
        return ChainHead(self.height, self.parent, root, self.time_ms)

    async def account(self, key: bytes) -> AccountState:
        self._read()
        account = self.state.get(key, accounts.Account())
        return AccountState(account.nonce, account.balance, self.height)

    async def block(self, height: int) -> bytes | None:
        self._read()
        return self.blocks[height].encode() if height in self.blocks else None

    async def certificate(self, height: int) -> bytes | None:
        self._read()
        return self.votes.get(height)

    async def receipts(self, height: int) -> bytes | None:
        self._read()
        return b"".join(self.stored_receipts[height].encode()) if height in self.stored_receipts else None

    async def sealed_headers(self, start: int, count: int) -> list[bytes]:
        self._read()
        kept = [height for height in range(start, start + count) if height in self.blocks]
        return [
            self.blocks[height].header.encode() + self.blocks[height].signature + self.votes[height]
            for height in kept
        ]

    async def state_values(
        self, keys: list[bytes], height: int | None = None
    ) -> StateValues | RetainedHeights:
        self._read()
        assert len(keys) <= VALUES_KEYS_MAX
        at = self.height if height is None else height
        if at not in self.history:
            return RetainedHeights(min(self.history), self.height)
        return StateValues(at, tuple(self.history[at].get(key, b"") for key in keys))

    async def read_index(self) -> int:
        self._read()
        return self.height

    async def locate(self, tx_id: bytes) -> TransactionPlace | None:
        self._read()
        found = self.where.get(tx_id)
        return None if found is None else TransactionPlace(*found)

    async def transaction(self, tx_id: bytes) -> StoredTransaction | None:
        self._read()
        if tx_id not in self.where:
            return None
        height, at = self.where[tx_id]
        single = self.blocks[height].batch.take(np.array([at]))
        receipts = self.stored_receipts[height]
        receipt, output = receipts.rows[at].tobytes(), receipts.output_at(at)
        return StoredTransaction(
            single.rows.tobytes(), single.payloads.tobytes(), receipt, height, at, output
        )

    async def receipt_proof(self, tx_id: bytes) -> ReceiptProof | None:
        inclusion = await self.inclusion_proof(tx_id)
        if inclusion is None:
            return None
        receipts, at = self.stored_receipts[inclusion.height], inclusion.index
        output = receipts.output_at(at)
        bound = output and msgspec.structs.replace(output, message="")
        row = receipts.rows[at].tobytes()
        return ReceiptProof(inclusion, row, bound, receipts.proof(at, sha256_rows))

    async def state_proof(self, key: bytes, height: int | None) -> AccountProof | RetainedHeights:
        """This node keeps no state to prove from, and answers as Storage does for heights it cannot prove."""
        self._read()
        return RetainedHeights(self.height + 1, self.height)

    async def inclusion_proof(self, tx_id: bytes) -> InclusionProof | None:
        self._read()
        if tx_id not in self.where:
            return None
        height, at = self.where[tx_id]
        block = self.blocks[height]
        return InclusionProof(
            height=height,
            index=at,
            size=len(block.batch),
            leaf=tx_id,
            proof=merkle.inclusion_proof(block.batch.ids(), at),
            header=block.header.encode(),
            signature=block.signature,
            certificate=self.votes[height],
        )


async def until(condition: Any) -> None:
    """Give the loop turns until `condition()` holds; fails after many turns, not after a time."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError("the condition was never met")


def membership_of(genesis: Genesis) -> Membership:
    """Consensus' view of the members of a genesis, the first of whom leads; only `transfer` is allowed."""

    async def members() -> list[MemberStanding]:
        return [
            MemberStanding(
                number, member.name, member.identity, member.address, "voter", number == 1, "unnamed"
            )
            for number, member in enumerate(genesis.members, 1)
        ]

    async def change(action: str, member: str) -> ChangeOutcome:
        if action != "transfer" or member not in {known.name for known in genesis.members}:
            return ChangeRefused(f"{action} {member} is not allowed now")
        return MemberChanged(action, member, 2, genesis.members[0].identity)

    return Membership(members, change)
