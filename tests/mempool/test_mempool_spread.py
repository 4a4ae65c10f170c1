"""The order within a draw: fewer waves, within the stated bound, each sender by nonce."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger.contract_state import Origin, program_entries, program_keys
from actors.ledger.rows import Batch, row_words
from actors.mempool.conflict_spacing import spread
from actors.mempool.contract_keys import ContractKeys, plain_touches
from actors.mempool.contract_learner import ContractLearner
from actors.storage.interface import VALUES_KEYS_MAX, RetainedHeights, StateValues
from tests.ledger.contract_transactions import Fields, batch_of_fields, call, example, payload_of
from tests.mempool.test_mempool_pool import key, made

HASH_KEY = np.zeros(2, dtype=np.uint64)


def order_of(senders: list[int], recipients: list[int], lookahead: int) -> list[int]:
    batch = made([(who, number, 1) for number, who in enumerate(senders)])
    for number, who in enumerate(recipients):
        batch.rows[number]["recipient"] = key(1_000 + who)
    order = np.empty(len(senders), dtype=np.int64)
    touches = plain_touches(len(senders))
    spread(row_words(batch.rows), np.arange(len(senders)), touches, lookahead, HASH_KEY, order)
    return [int(place) for place in order]


def waves(pairs: list[tuple[int, int]]) -> int:
    count, touched = 1, set[int]()
    for sender, recipient in pairs:
        mine = {sender, 1_000 + recipient}
        if mine & touched:
            count, touched = count + 1, set()
        touched |= mine
    return count


@settings(max_examples=50, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60),
    lookahead=st.integers(1, 9),
)
def test_an_order_keeps_nonces_and_moves_no_row_beyond_the_bound(
    pairs: list[tuple[int, int]], lookahead: int
) -> None:
    senders, recipients = [s for s, _ in pairs], [r for _, r in pairs]
    order = order_of(senders, recipients, lookahead)
    assert sorted(order) == list(range(len(pairs)))
    for who in set(senders):
        mine = [place for place in order if senders[place] == who]
        assert all(before < after for before, after in pairwise(mine))
    for turn, place in enumerate(order):
        assert place - turn <= lookahead - 1
        passed_by = sum(1 for earlier in order[:turn] if earlier > place)
        assert passed_by <= lookahead - 1


def test_runs_of_senders_are_interleaved_into_few_waves() -> None:
    senders = [number // 8 for number in range(64)]
    recipients = list(range(64))
    order = order_of(senders, recipients, 64)
    before = waves(list(zip(senders, recipients, strict=True)))
    after = waves([(senders[place], recipients[place]) for place in order])
    assert (before, after) == (57, 8)


# Calls of contracts

TOKEN = bytes([9]) * 32


def transfers(pairs: list[tuple[int, int]], amount: int = 0) -> Batch:
    """Calls by which people give tokens to others."""
    give = [payload_of("token", "transfer", person(other), 1) for _, other in pairs]
    nonces = dict[int, int]()
    rows = list[Fields]()
    for (one, _), payload in zip(pairs, give, strict=True):
        rows.append(call(person(one), nonces.get(one, 0), TOKEN, payload, amount=amount))
        nonces[one] = nonces.get(one, 0) + 1
    return batch_of_fields(rows, 77)


def person(number: int) -> bytes:
    return bytes([100 + number]) * 32


def knowing(*names: tuple[bytes, str]) -> ContractKeys:
    keys = ContractKeys()
    for address, name in names:
        program, source, _ = example(name)
        keys.learn(address, program_entries(address, program, source, Origin(1, 0, bytes(32))))
    return keys


def waves_of(keys: ContractKeys, batch: Batch, lookahead: int = 64) -> int:
    touches, order = keys.touches(batch, HASH_KEY), np.empty(len(batch), dtype=np.int64)
    places = np.arange(len(batch))
    return int(spread(row_words(batch.rows), places, touches, lookahead, HASH_KEY, order))


def test_calls_of_one_contract_meet_where_their_keys_do() -> None:
    apart = transfers([(number, number + 20) for number in range(20)])
    assert waves_of(knowing((TOKEN, "token")), apart) == 1
    assert waves_of(ContractKeys(), apart) == 20
    assert waves_of(knowing((TOKEN, "token")), transfers([(number, 39) for number in range(20)])) == 20
    assert waves_of(knowing((TOKEN, "token")), transfers([(0, 20 + number) for number in range(20)])) == 20


def test_coins_for_a_contract_and_keys_that_are_not_known_take_all_of_it() -> None:
    pairs = [(number, number + 20) for number in range(20)]
    assert waves_of(knowing((TOKEN, "token")), transfers(pairs, amount=1)) == 20
    assert waves_of(knowing((TOKEN, "exchange")), transfers(pairs)) == 20
    short = transfers(pairs)
    cut = Batch(short.rows.copy(), short.payloads.reshape(20, -1)[:, :-1].reshape(-1))
    cut.rows["payload_bytes"] -= 1
    assert waves_of(knowing((TOKEN, "token")), cut) == 20


def test_calls_that_only_read_or_only_add_do_not_meet() -> None:
    counter = bytes([8]) * 32
    value, add = payload_of("counter", "value"), payload_of("counter", "add", 1)
    for payloads, waves in (([value] * 20, 1), ([add] * 20, 1), ([value, add] * 10, 2)):
        rows = [call(person(number), 0, counter, payload) for number, payload in enumerate(payloads)]
        assert waves_of(knowing((counter, "counter")), batch_of_fields(rows, 77)) == waves


def test_contracts_that_are_not_known_are_asked_for_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.mempool.contract_keys.CONTRACTS_KEPT", 2)
    monkeypatch.setattr("actors.mempool.contract_keys.WANTED_MAX", 3)
    addresses = [bytes([number]) * 32 for number in range(6)]
    keys = knowing(*((address, "token") for address in addresses[:3]))
    rows = [call(person(number), 0, address, b"\0") for number, address in enumerate(addresses)]
    assert not keys.wants
    keys.touches(batch_of_fields(rows, 77), HASH_KEY)
    assert keys.wants
    wanted = keys.wanted()
    assert len(wanted) == 3
    assert set(wanted) <= set(addresses) - set(addresses[1:3])
    assert not keys.wants


@settings(max_examples=30, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40),
    lookahead=st.integers(1, 9),
)
def test_an_order_of_calls_keeps_nonces_and_the_bound(pairs: list[tuple[int, int]], lookahead: int) -> None:
    batch = transfers(pairs)
    order = knowing((TOKEN, "token")).order(
        row_words(batch.rows), np.arange(len(batch)), lookahead, HASH_KEY, batch.take
    )
    assert sorted(order) == list(range(len(pairs)))
    for who in {one for one, _ in pairs}:
        mine = [place for place in order if pairs[place][0] == who]
        assert all(before < after for before, after in pairwise(mine))
    assert all(place - turn <= lookahead - 1 for turn, place in enumerate(order))


def test_programs_are_read_beside_the_draws_and_a_failure_is_met_again() -> None:
    program, source, _ = example("token")
    entries = program_entries(TOKEN, program, source, Origin(1, 0, bytes(32)))
    failures, asked = list[str](), list[int]()

    class Restarting:
        async def state_values(self, keys: list[bytes]) -> StateValues | RetainedHeights:
            asked.append(len(keys))
            if len(asked) == 1:
                raise ConnectionError("storage is restarting")
            return StateValues(5, tuple(entries.get(key, b"") for key in keys))

    async def scenario() -> None:
        keys, batch = ContractKeys(), transfers([(number, number + 20) for number in range(20)])
        learner = ContractLearner(
            keys, Restarting(), (ConnectionError,), lambda what, error: failures.append(f"{what}: {error}")
        )
        for waves in (20, 20, 1):
            assert waves_of(keys, batch) == waves
            learner.wake()
            learner.wake()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        learner.stop()

    asyncio.run(scenario())
    assert failures == ["program: storage is restarting"]
    assert asked == [len(program_keys(TOKEN))] * 2
    assert len(program_keys(TOKEN)) <= VALUES_KEYS_MAX
