"""The replicated log on disk: it is what was written last, beside the blocks, over any order of writes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger.block import sign_proposal
from actors.storage.disk import Disk
from actors.storage.errors import CorruptionError, HeaderError, HeightError, StaleEpochError
from actors.storage.interface import Commit, LogRecord, Persist, StoredLog
from actors.storage.raft_log import RaftLog
from actors.storage.reads import Reader
from tests.storage.storage_network import SIGNER, Driver, certificate, make_genesis, open_chain, present

ACCOUNTS = 20
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)

writes = st.lists(st.tuples(st.integers(1, 12), st.lists(st.binary(max_size=4), max_size=4)), max_size=12)


@settings(max_examples=20, deadline=None)
@given(writes)
def test_entries_replace_what_stood_from_their_first_index_on(steps: list[tuple[int, list[bytes]]]) -> None:
    plain: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        log = RaftLog(disk)
        for number, (first, entries) in enumerate(steps):
            batch, hard_state = disk.batch(), bytes([number + 1])
            record = LogRecord(hard_state, first_index=first, entries=tuple(entries))
            if entries and first > len(plain) + 1:
                with pytest.raises(HeightError):
                    log.put(batch, record)
                continue
            log.put(batch, record)
            batch.write(sync=False)
            if entries:
                plain[first - 1 :] = entries
            assert log.read() == RaftLog(disk).read()
            assert log.read() == StoredLog(hard_state, b"", 0, b"", tuple(plain))
        disk.close()


def test_a_snapshot_replaces_and_a_compaction_shortens_the_log(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    log = RaftLog(disk)
    batch = disk.batch()
    log.put(batch, LogRecord(b"h", first_index=1, entries=(b"a", b"b", b"c")))
    batch.write(sync=False)
    batch = disk.batch()
    log.compact(batch, LogRecord(snapshot=b"snap", base_index=2, base=b"base"))
    batch.write(sync=False)
    assert RaftLog(disk).read() == StoredLog(b"h", b"snap", 2, b"base", (b"c",))
    batch = disk.batch()
    log.put(batch, LogRecord(snapshot=b"new", base_index=9, base=b"nine", first_index=10, entries=(b"j",)))
    batch.write(sync=False)
    assert RaftLog(disk).read() == StoredLog(b"h", b"new", 9, b"nine", (b"j",))
    batch = disk.batch()
    batch.delete("raft", b"e" + (10).to_bytes(8, "big"))
    batch.put("raft", b"e" + (11).to_bytes(8, "big"), b"k")
    batch.write(sync=False)
    with pytest.raises(CorruptionError, match="entry 10"):
        RaftLog(disk)
    disk.close()


def test_a_record_is_durable_with_its_block_and_blocks_are_replayed(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    driver = Driver(chain, ACCOUNTS)
    digests, headers = [], []
    for number in range(1, 4):
        header = driver.header(driver.execute(10))
        signature = sign_proposal(SIGNER, GENESIS.hash(), header.hash())
        record = LogRecord(b"term", first_index=number, entries=(bytes([number]),))
        chain.persist(driver.epoch, Persist(number, header.encode(), signature, b"", record))
        digests.append(header.hash())
        headers.append(header)
    sealed = Reader(chain).sealed_block(3, headers[2].encode(), signature)
    chain.commit(driver.epoch, Commit(1, certificate(headers[0]), sync=False))
    chain.append_record(driver.epoch, LogRecord(b"later"))
    roots = present(chain.state.block_at(3)).state_root
    chain.disk.close()

    again = open_chain(tmp_path, GENESIS, ALLOCATION)
    reader = Reader(again)
    assert again.raft_log.read() == StoredLog(b"later", b"", 0, b"", (b"\x01", b"\x02", b"\x03"))
    assert again.head.height == again.persisted_height == 1
    epoch = again.fence()
    with pytest.raises(StaleEpochError):
        again.append_record(epoch - 1, LogRecord(b"stale"))
    with pytest.raises(HeaderError):
        again.replay(epoch, [digests[2]])
    assert [header for header, _ in again.replay(epoch, digests[1:])] == [h.encode() for h in headers[1:]]
    assert again.persisted_height == 3
    assert present(again.state.block_at(3)).state_root == roots
    assert reader.stored_block(3, digests[2]) == (sealed, b"")
    assert reader.stored_block(3, digests[1]) is None
    assert present(reader.stored_block(1, digests[0]))[1] == certificate(headers[0])
    again.commit(epoch, Commit(2, certificate(headers[1])))
    with pytest.raises(HeightError):
        reader.sealed_block(2, headers[1].encode(), signature)
    again.disk.close()
