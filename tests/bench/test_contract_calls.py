"""What is drawn for loads and torture are calls: of the right form, and most of them succeed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from actors.contracts.failures import Failure
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State, supply
from actors.ledger.environment import Environment
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_DEPLOY, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION, Batch, concatenate
from actors.ledger.verdict import Verdict
from bench.chains import earlier_uses
from bench.contract_calls import SHAPES, CallFiller
from bench.contract_examples import EXAMPLES, Catalog
from bench.contract_workload import mixed, unsigned

TAG, ACCOUNTS, CALLS, BLOCKS = 9, 20, 300, 4
PRICES = Prices(1, 1)
KEYS = np.random.default_rng(3).integers(0, 256, (ACCOUNTS, 32), dtype=np.uint8)


def calls_of(catalog: Catalog, nonces: np.ndarray, chance: np.random.Generator, share: float) -> Batch:
    """Rows of accounts 1 to the last."""
    who = chance.integers(1, ACCOUNTS, CALLS)
    rows = np.zeros(CALLS, dtype=ROW_DTYPE)
    rows["version"], rows["chain_tag"], rows["expiry_height"] = ROW_VERSION, TAG, NEVER_EXPIRES_HEIGHT
    rows["nonce"], rows["sender"] = nonces[who] + earlier_uses(who), KEYS[who]
    np.add.at(nonces, who, np.uint64(1))
    return Batch(rows, CallFiller(catalog, KEYS, chance, share).fill(rows))


@pytest.mark.parametrize("prices", [PRICES, Prices(0, 5, gas_per_unit=7, entry_deposit=3)])
def test_every_shape_succeeds_and_no_row_offers_too_little(prices: Prices) -> None:
    state: State = {key.tobytes(): Account(0, 1 << 30) for key in KEYS}
    entries, chance, nonces = Entries(), np.random.default_rng(1), np.zeros(ACCOUNTS, dtype=np.uint64)
    catalog, before = Catalog(KEYS[0].tobytes(), prices), supply(state)
    batch = unsigned(catalog.opening(), catalog.deployer, TAG)
    outcome = rules.apply_batch(state, batch, Environment(TAG, 1, KEYS[0].tobytes(), prices), entries)
    assert [(row.verdict, row.status) for row in outcome.applied] == [(Verdict.OK, 0)] * (len(EXAMPLES) + 2)
    told: Counter[tuple[str, int]] = Counter()
    names = {address: name for name, address in catalog.addresses.items()}
    for height in range(2, 2 + BLOCKS):
        batch = calls_of(catalog, nonces, chance, 0.02)
        outcome = rules.apply_batch(
            state, batch, Environment(TAG, height, KEYS[0].tobytes(), prices, 1000 * height), entries
        )
        assert set(outcome.verdicts) == {Verdict.OK}
        for row, payload_at, applied in zip(
            batch.rows, batch.payload_offsets[:-1], outcome.applied, strict=True
        ):
            if row["kind"] == KIND_DEPLOY:
                told["deploy", applied.status] += 1
                continue
            name = names[row["recipient"].tobytes()]
            number = int(batch.payloads[payload_at])
            told[
                f"{name}.{catalog.program(name).verified.functions[number].function.name}", applied.status
            ] += 1
    assert {status for _, status in told} == {0, Failure.REQUIREMENT}
    wanted = {f"{shape.contract}.{shape.function}" for shape in SHAPES} | {"deploy"}
    assert {name for name, status in told if not status} == wanted
    failed = sum(count for (_, status), count in told.items() if status)
    assert failed < 0.4 * CALLS * BLOCKS
    assert supply(state) == before


def test_mixing_keeps_the_order_of_both_and_their_payloads() -> None:
    catalog, chance = Catalog(KEYS[0].tobytes(), PRICES), np.random.default_rng(2)
    first = calls_of(catalog, np.zeros(ACCOUNTS, dtype=np.uint64), chance, 0.0)
    second = unsigned(catalog.opening(), catalog.deployer, TAG)
    both = mixed(first, second, chance)
    mine = both.rows["sender"].view("V32").reshape(-1) == KEYS[0].view("V32")[0]
    for part, selected in ((first, ~mine), (second, mine)):
        found = both.take(selected)
        assert found.rows.tobytes() == part.rows.tobytes()
        assert found.payloads.tobytes() == part.payloads.tobytes()
    assert len(concatenate([first, second])) == len(both)
