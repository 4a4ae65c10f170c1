"""Keys aimed at one place of a hash table, as strangers would make them, against the tables they fill."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.gateway.head_state import HeadState
from actors.kernels.multilinear import MultilinearHash, scaled
from actors.kernels.siphash import siphash_rows
from actors.ledger.delta import AccountStates
from actors.ledger.environment import Environment
from actors.ledger.index import KeyIndex
from actors.ledger.prices import FREE
from actors.ledger.rows import ROW_DTYPE, Batch, row_words
from actors.mempool.conflict_spacing import spread
from actors.mempool.contract_keys import plain_touches
from actors.mempool.pool import Pool, PoolBounds
from actors.storage.accounts import Accounts, funded
from actors.storage.transition import apply_batch, undo_batch
from actors.validator.verified_cache import VerifiedCache

PROBE_MAX = 128
"""Linear probing at half load: the longest probe of 16,384 keys passes this with chance below 2^-40."""
SEEDS = (0, 1, 0x0123456789ABCDEF0123456789ABCDEF)


def unkeyed_mix(words: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """What tables were keyed by before: the yardstick for keys that are aimed well."""

    def shifted(h: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
        return h >> np.uint64(bits)

    k0, k1, k2, k3 = words.T
    h: NDArray[np.uint64] = k0 ^ np.uint64(seed & (2**64 - 1))
    h = (h ^ shifted(h, 32)) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ k1 ^ shifted(h, 29)) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ k2 ^ shifted(h, 32)) * np.uint64(0x94D049BB133111EB)
    h = (h ^ k3 ^ shifted(h, 29)) * np.uint64(0x9E3779B97F4A7C15)
    return h ^ shifted(h, 32)


def aimed_keys() -> NDArray[np.uint64]:
    """(16384, 4) words that meet in one home of the old tables of up to 2^20 places, whatever the seed.

    A product's bit i depends on bits 0..i of its factors, and the home on bits 0..19 and 32..51 of the last
    product: the upper 12 bits of word 3 do not count. The top bit of a factor changes the top bit of the
    product alone, and the next word can take that and its shifted copy back: words 1 and 2, words 2 and 3.
    """
    keys = np.zeros((1 << 14, 4), dtype=np.uint64)
    number = np.arange(1 << 14, dtype=np.uint64)
    keys[:, 0] = np.uint64(0x1234567)
    keys[:, 3] = (number & np.uint64(0xFFF)) << np.uint64(52)
    first, second = (number >> np.uint64(12)) & np.uint64(1), number >> np.uint64(13)
    keys[:, 1] ^= first << np.uint64(63)
    keys[:, 2] ^= first * np.uint64(1 << 63 | 1 << 31) ^ (second << np.uint64(63))
    keys[:, 3] ^= second * np.uint64(1 << 63 | 1 << 34)
    return keys


def longest_probe(index: KeyIndex) -> int:
    """The most places that a search for a present key looks at."""
    hashes = np.empty(index.count, dtype=np.uint64)
    siphash_rows(index.hash_key, index.keys[: index.count], hashes)
    mask = len(index.table) - 1
    places = np.flatnonzero(index.table >= 0)
    homes = (hashes & np.uint64(mask)).astype(np.int64)
    return int(((places - homes[index.table[places]]) & mask).max()) + 1


def transfers(senders: NDArray[np.uint64], recipients: NDArray[np.uint64]) -> Batch:
    rows = np.zeros(len(senders), dtype=ROW_DTYPE)
    rows["version"] = rows["kind"] = rows["chain_tag"] = 1
    rows["expiry_height"] = 2**64 - 1
    rows["amount"], rows["fee"] = 1_000_000, 1
    rows["sender"] = np.ascontiguousarray(senders).view(np.uint8).reshape(-1, 32)
    rows["recipient"] = np.ascontiguousarray(recipients).view(np.uint8).reshape(-1, 32)
    return Batch(rows, np.empty(0, dtype=np.uint8))


def test_the_keys_are_aimed() -> None:
    keys = aimed_keys()
    assert len(np.unique(keys, axis=0)) == len(keys)
    for seed in SEEDS:
        assert len(np.unique(unkeyed_mix(keys, seed) & np.uint64(2**20 - 1))) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_account_index_spreads_aimed_keys(seed: int) -> None:
    index = KeyIndex(16, seed)
    keys = aimed_keys()
    assert np.array_equal(index.insert(keys), np.arange(len(keys)))
    assert longest_probe(index) <= PROBE_MAX


def test_a_block_to_aimed_recipients_spreads_and_comes_back() -> None:
    keys = aimed_keys()
    accounts = Accounts(16, SEEDS[2])
    sender = np.full((1, 32), 7, dtype=np.uint8)
    accounts.put(funded(sender, np.array([2**60], dtype=np.uint64)))
    batch = transfers(np.repeat(sender.view(np.uint64), len(keys), axis=0), keys)
    batch.rows["nonce"] = np.arange(len(keys))
    applied = apply_batch(accounts, batch, Environment(1, 1, bytes(32), FREE))
    assert not applied.verdicts.any()
    assert longest_probe(accounts.index) <= PROBE_MAX
    undo_batch(accounts, applied.undo)
    assert accounts.count == 1


def test_the_mempools_index_spreads_aimed_senders() -> None:
    keys = aimed_keys()
    pool = Pool(PoolBounds(1 << 15, 1 << 10, 16), chain_tag=1, seed=SEEDS[2], prices=FREE)
    batch = transfers(keys, keys[::-1])
    funds = np.full(len(keys), 2**40, dtype=np.uint64)
    pool.settle(AccountStates(1, batch.rows["sender"], np.zeros(len(keys), dtype=np.uint64), funds))
    verdicts = pool.static(batch)
    pool.insert(batch, verdicts)
    assert not verdicts.any()
    assert longest_probe(pool._index) <= PROBE_MAX


def test_a_draws_order_tells_accounts_apart_that_were_alike() -> None:
    """Accounts with equal first and fourth words' sum were one account to the old order of draws."""
    keys = np.zeros((256, 4), dtype=np.uint64)
    keys[:, 0] = keys[:, 3] = np.arange(256)
    words = row_words(transfers(keys[:128], keys[128:]).rows)
    order = np.empty(128, dtype=np.int64)
    waves = spread(words, np.arange(128), plain_touches(128), 64, np.array([1, 2], dtype=np.uint64), order)
    assert sorted(order.tolist()) == list(range(128))
    assert waves < 16


@pytest.mark.parametrize("seed", SEEDS)
def test_a_validators_caches_spread_values_that_share_all_but_a_few_bits(seed: int) -> None:
    """Under the sums of products modulo 2^64 of before, values that differ in top bits of two words met."""
    keys = aimed_keys()
    counts = np.bincount(scaled(MultilinearHash(seed)(keys), 1 << 14), minlength=1 << 14)
    assert counts.max() <= 64
    ids = keys.view(np.uint8).reshape(-1, 32)
    memory = VerifiedCache(seed, places=1 << 16)
    memory.add(ids)
    assert memory.known(ids).mean() > 0.5


def test_an_account_is_found_among_many_that_begin_like_it() -> None:
    """Accounts whose keys share their first eight bytes with a stranger's cost its readers nothing."""
    state = HeadState(SEEDS[2])
    keys = np.zeros((10_000, 32), dtype=np.uint8)
    keys[:, 8:12] = np.arange(10_000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    ones = np.ones(len(keys), dtype=np.uint64)
    state.published(AccountStates(1, keys, ones, ones))
    wanted = keys[5_000].tobytes()
    hashed = state._hash(keys)
    looked_at = np.flatnonzero(hashed == hashed[5_000])
    assert len(looked_at) <= 8
    found = state.get(wanted)
    assert found is not None
    assert (found.nonce, found.balance) == (1, 1)
