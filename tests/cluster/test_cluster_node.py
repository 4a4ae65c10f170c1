"""A real node through its HTTP API: transfers, proofs, wait levels, and every kind of bad row."""

from __future__ import annotations

import numpy as np
import pytest

from actors.ledger.rows import Batch, concatenate, encode_batch
from actors.ledger.signing import Transfer, development_signer, sign_rows, sign_transfer
from actors.ledger.verdict import Verdict
from actors.sdk.answers import ApiError
from tests.cluster.conftest import Running, eventually


def transfer(running: Running, account: int, nonce: int, **fields: int) -> Batch:
    genesis = running.node.directory.genesis
    values = {"recipient": bytes(31) + b"\x05", "amount": 3, "fee": 1, **fields}
    signer = development_signer(genesis.network, account)
    return sign_transfer(signer, genesis.chain_tag, Transfer(nonce=nonce, **values))  # type: ignore[arg-type]


def test_the_operating_system_sees_the_validators_asked_for(running: Running) -> None:
    assert len(running.cluster.processes("Validator")) == 2
    assert len(running.cluster.processes("MempoolShard")) == 2


@pytest.mark.parametrize("wait", ["accepted", "durable", "committed"])
def test_a_transfer_commits_and_its_proof_verifies(running: Running, wait: str) -> None:
    (account,) = running.accounts(1)
    batch = transfer(running, account, 0)
    answer = running.client.submit_one(batch, wait=wait)  # type: ignore[arg-type]
    tx_id = bytes.fromhex(answer["id"])
    assert tx_id == batch.ids()[0].tobytes()
    found = eventually(lambda: running.client.transaction(tx_id), "the transaction is committed")
    header = running.client.verified_proof(tx_id, running.node.directory.genesis)
    assert header.height == found["height"]
    key = development_signer(running.node.directory.genesis.network, account).public_key
    after = eventually(
        lambda: a if (a := running.client.account(key))["nonce"] == 1 else None, "the account moved"
    )
    assert int(after["balance"]) == running.node.settings.network.development_balance - 4


def test_submitting_twice_is_harmless(running: Running) -> None:
    (account,) = running.accounts(1)
    batch = transfer(running, account, 0)
    assert running.client.submit(batch, wait="committed").accepted == 1
    again = running.client.submit(batch, wait="accepted")
    assert [refusal.verdict for refusal in again.rejected] in (["nonce_reused"], ["NONCE_REUSED"])


def test_each_bad_row_is_named_and_the_rest_is_unharmed(running: Running) -> None:
    good, bad = running.accounts(2)
    network = running.node.directory.genesis.network
    cases = {
        Verdict.BAD_VERSION: ("version", 9),
        Verdict.UNKNOWN_KIND: ("kind", 77),
        Verdict.BAD_FLAGS: ("flags", 1),
        Verdict.WRONG_CHAIN: ("chain_tag", 1),
        Verdict.EXPIRED: ("expiry_height", 0),
        Verdict.AMOUNT_OVERFLOW: ("amount", 2**64 - 1),
        Verdict.NONCE_GAP: ("nonce", 10**6),
        Verdict.INSUFFICIENT_BALANCE: ("amount", 10**15),
        Verdict.BAD_PAYLOAD: ("payload_hash", 1),
        Verdict.BAD_SIGNATURE: ("recipient", 7),
    }
    pieces = [transfer(running, good, 0)]
    for verdict, (field, value) in cases.items():
        rows = transfer(running, bad, 0).rows.copy()
        rows[field] = value
        if verdict is not Verdict.BAD_SIGNATURE:
            sign_rows(rows, [development_signer(network, bad)], np.zeros(1, dtype=np.int64))
        pieces.append(Batch(rows, np.empty(0, dtype=np.uint8)))
    pieces.append(transfer(running, good, 1))
    receipt = running.client.submit(concatenate(pieces), wait="committed")
    assert receipt.accepted == 2
    assert {r.index: r.code for r in receipt.rejected} == {i: int(v) for i, v in enumerate(cases, start=1)}
    assert all(refusal.field for refusal in receipt.rejected)


def test_malformed_batches_are_refused_with_the_field_and_the_limit(running: Running) -> None:
    import httpx

    (account,) = running.accounts(1)
    encoded = encode_batch(transfer(running, account, 0))
    oversized = b"RCB1" + (10**6).to_bytes(4, "little") + bytes(8)
    with httpx.Client(base_url=running.node.url) as http:
        for body, status, field in (
            (encoded[:-1], 400, "batch"),
            (b"XXXX" + encoded[4:], 400, "batch.magic"),
            (oversized, 413, "batch.count"),
            (b"", 400, "batch"),
        ):
            answer = http.post(
                "/v1/transactions/batch", content=body, headers={"Content-Type": "application/octet-stream"}
            )
            problem = answer.json()
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert (
                answer.status_code in (status, 400),
                problem["field"].startswith(field.split(".")[0]),
            ) == (True, True)
            assert problem["limit"] is not None


def test_one_refused_submission_is_a_typed_error(running: Running) -> None:
    (account,) = running.accounts(1)
    with pytest.raises(ApiError) as raised:
        running.client.submit_one(transfer(running, account, 0, amount=10**15))
    assert raised.value.field == "amount"
    assert 400 <= raised.value.status < 500


def test_every_actor_reports_its_health(running: Running) -> None:
    health = running.node.health()
    assert all(answer is not None for answer in health.values())
    status = running.client.status()
    assert status
