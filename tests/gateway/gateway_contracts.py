"""Contracts on the fake node: signed deployments and calls of the examples."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from actors.contracts.encoding import encode_program
from actors.contracts.language.compiler import compile_source
from actors.contracts.types import Slot
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.ledger.contract_payloads import Deployment, contract_address
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY, Batch
from actors.ledger.signing import Transfer, sign_transfer
from tests.gateway.gateway_fake_node import SENDERS, FakeNode
from tests.ledger.contract_transactions import example, payload_of

ALICE, BOB = (signer.public_key for signer in SENDERS[:2])
SUPPLY = 1_000
TOKEN, COUNTER = (contract_address(ALICE, nonce) for nonce in range(2))


def signed(node: FakeNode, who: int, kind: int, recipient: bytes, payload: bytes, **fields: Any) -> Batch:
    """A transaction of a contract, with the sender's next nonce."""
    nonce = node.state[SENDERS[who].public_key].nonce
    wanted = {"amount": 0, "nonce": nonce, "fee": 2_000, **fields}
    return sign_transfer(
        SENDERS[who], node.genesis.chain_tag, Transfer(recipient, kind=kind, payload=payload, **wanted)
    )


def deploy(node: FakeNode, who: int, name: str, *arguments: Slot, **fields: Any) -> bytes:
    """Deploy an example in a block of its own; its address."""
    return deploy_source(node, who, example(name)[1].decode(), *arguments, **fields)


def deploy_source(node: FakeNode, who: int, source: str, *arguments: Slot, **fields: Any) -> bytes:
    """Deploy what a source says."""
    program, verified = compiled(source)
    data = verified.init.params.encode(arguments) if verified.init else b""
    address = contract_address(SENDERS[who].public_key, node.state[SENDERS[who].public_key].nonce)
    payload = Deployment(program, source.encode(), data).encode()
    commit(node, signed(node, who, KIND_DEPLOY, address, payload, **fields))
    return address


@cache
def compiled(source: str) -> tuple[bytes, Verified]:
    """A program, and what may run of it."""
    program = compile_source(source, "contract.py").program
    return encode_program(program), verify(program)


def exchange_of(token: bytes) -> str:
    """The source of the exchange of a token."""
    return re.sub(
        r'@interface\("[0-9a-f]{64}"\)', f'@interface("{token.hex()}")', example("exchange")[1].decode()
    )


def call(
    node: FakeNode, who: int, name: str, at: bytes, function: str, *arguments: Slot, **fields: Any
) -> str:
    """Call a function of an example in a block of its own; the transaction's id."""
    batch = signed(node, who, KIND_CALL, at, payload_of(name, function, *arguments), **fields)
    commit(node, batch)
    return str(batch.ids()[0].tobytes().hex())


def commit(node: FakeNode, *batches: Batch) -> None:
    """A block of these transactions."""
    node.shards[0].pending = list(batches)
    node.commit()


def node_with_contracts(**settings: Any) -> FakeNode:
    """A node of three blocks: a token, whose units Alice has, and a counter that Bob has raised by 5."""
    node = FakeNode(**settings)
    assert deploy(node, 0, "token", SUPPLY) == TOKEN
    assert deploy(node, 0, "counter") == COUNTER
    call(node, 1, "counter", COUNTER, "add", 5)
    return node
