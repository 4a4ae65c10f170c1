"""Calls into Storage over lines: the same answers, the same errors, in turns with those through Ray."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from msgspec.structs import asdict

from actors import local_socket
from actors.faces import remote
from actors.ledger.block import Header, sign_proposal
from actors.ledger.delta import Delta
from actors.ledger.rows import FormatError
from actors.local_socket import LocalConnection, LocalRpcServer, encode
from actors.settings import LogSettings, StorageSettings
from actors.shell import ActorContext
from actors.storage import calls, errors, writing
from actors.storage.actor import Storage
from actors.storage.calls import LineEndedError, StorageCalls, UnexpectedError
from actors.storage.interface import Commit, Execute, Executed, LogRecord, Persist
from tests.storage.storage_network import SIGNER, Driver, certificate, make_genesis, present

ACCOUNTS = 20
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)


Scenario: TypeAlias = Callable[[StorageCalls, "Handle"], Awaitable[None]]


class Remote:
    """A method of an actor's handle: counts its calls, and makes them in another thread."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method, self.calls = method, 0

    def remote(self, *arguments: Any) -> Any:
        self.calls += 1
        return asyncio.ensure_future(asyncio.to_thread(self._method, *arguments))


class Handle:
    """What Consensus holds of Storage."""

    METHODS = (
        *("desks", "execute", "delta", "fence", "raft_state", "replay"),
        *("head", "rollback", "compact_log", "try_function", "refuse_function"),
    )
    execute: Remote
    append_record: Remote
    fence: Remote
    head: Remote
    audit: Remote
    nonces: Remote
    stored_block: Remote

    def __init__(self, storage: Storage) -> None:
        for name in self.METHODS:
            setattr(self, name, Remote(getattr(storage, name)))

    def through_ray(self) -> dict[str, int]:
        return {name: method.calls for name, method in vars(self).items() if method.calls and name != "desks"}


def open_storage(folder: Path, open_tries: int = 1) -> Storage:
    """A Storage of its own, without Ray."""
    path = folder / "allocation"
    path.write_bytes(ALLOCATION.encode())
    context = ActorContext("node", "storage", str(folder), LogSettings())
    settings, place = StorageSettings(), str(path)
    return Storage(context, settings, GENESIS, place, kernel_choice="portable", open_tries=open_tries)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = open_storage(tmp_path)
    yield storage
    storage.stop()


def hang_up(line: LocalConnection | None) -> None:
    """End a connection that is there, as if the network had."""
    present(present(line)._transport).abort()


async def until(holds: Callable[..., object]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.001)


def run(storage: Storage, scenario: Scenario) -> None:
    async def whole() -> None:
        handle = Handle(storage)
        store = StorageCalls(remote(handle), (ConnectionError,))
        kept = asyncio.create_task(store.keep())
        await until(lambda: store._state._line and store._disk._line)
        try:
            async with asyncio.timeout(60):
                await scenario(store, handle)
        finally:
            kept.cancel()
            await asyncio.gather(kept, return_exceptions=True)

    asyncio.run(whole())


async def landed(delta: Delta | Awaitable[Delta] | None) -> Delta:
    """The delta, which must have come as a reference."""
    assert delta is not None
    assert not isinstance(delta, Delta)
    return await delta


async def commit(
    storage: Storage, store: StorageCalls, driver: Driver, epoch: int, count: int = 5
) -> tuple[Executed, Header, Delta | Awaitable[Delta] | None]:
    """One block by these calls: what execution answered, and the delta."""
    height = storage.health()["executed_height"] + 1
    batch = driver.batch(count)
    cut = count // 2
    parts = (batch.rows[:cut], batch.payloads, batch.rows[cut:], batch.payloads)
    order = np.arange(count)
    done = await store.execute(epoch, Execute(height, True, SIGNER.public_key, order), parts)
    header = driver.header(present(storage._chain.state.block_at(height)))
    record = LogRecord(hard_state=b"h", first_index=height, entries=(b"entry",))
    signed = header.encode(), sign_proposal(SIGNER, GENESIS.hash(), header.hash())
    await store.persist(epoch, Persist(height, *signed, b"", record), count)
    return done, header, await store.commit(epoch, Commit(height, certificate(header), False), count)


def test_a_small_block_goes_over_lines_and_is_answered_as_through_ray(storage: Storage) -> None:
    async def scenario(store: StorageCalls, handle: Handle) -> None:
        driver = Driver(storage._chain, ACCOUNTS)
        epoch, _ = await handle.fence.remote()
        done, header, delta = await commit(storage, store, driver, epoch)
        assert handle.through_ray() == {"fence": 1}
        assert (done.height, done.verdicts.tolist(), done.count) == (1, [0] * 5, 5)
        assert (done.state_root, done.receipts_root) == (header.state_root, header.receipts_root)
        assert done.transaction_root == header.transaction_root
        assert set(done.stages_us) == {
            *("decode", "transition", "receipts_root", "state_root", "ids", "transaction_root"),
        }
        assert storage._chain.raft_log.read().entries == (b"entry",)
        again, told = storage._writer.commit(epoch, Commit(1, certificate(header)))
        assert again.committed
        for name, value in asdict(told).items():
            assert np.array_equal(getattr(delta, name), value), name
            assert np.asarray(getattr(delta, name)).dtype == np.asarray(value).dtype
        await store.append_record(epoch, LogRecord(hard_state=b"later"))
        assert storage._chain.raft_log.read().hard_state == b"later"
        assert storage.stats()["blocks"] == 1

    run(storage, scenario)


def test_a_large_block_and_its_delta_go_through_ray(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "DELTAS_KEPT_MAX", 1)

    async def scenario(store: StorageCalls, handle: Handle) -> None:
        driver = Driver(storage._chain, ACCOUNTS)
        epoch, _ = await handle.fence.remote()
        rows = calls.SMALL_ROWS_MAX + 1
        _, header, delta = await commit(storage, store, driver, epoch, rows)
        told = await landed(delta)
        assert handle.through_ray() == {"fence": 1, "execute": 1, "delta": 1}
        assert len(told.ids) == rows
        assert not storage._writer._deltas
        from_disk = storage.delta(1)
        for name, value in asdict(told).items():
            assert np.array_equal(getattr(from_disk, name), value), name
        with pytest.raises(errors.HeightError, match="delta"):
            storage.delta(2)
        # Committing it again, as after an answer that was lost, tells the same.
        again = await store.commit(epoch, Commit(1, certificate(header), False), rows)
        assert (await landed(again)).height == 1
        later = [(await commit(storage, store, driver, epoch, rows))[2] for _ in range(3)]
        assert list(storage._writer._deltas) == [4]
        assert [(await landed(delta)).height for delta in later] == [2, 3, 4]
        with pytest.raises(FormatError, match="parts"):
            await store.execute(epoch, Execute(5, True, SIGNER.public_key), (object(),))

    run(storage, scenario)


def test_errors_are_the_same_over_a_line(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: StorageCalls, handle: Handle) -> None:
        driver = Driver(storage._chain, ACCOUNTS)
        epoch, _ = await handle.fence.remote()
        batch = driver.batch(3)
        parts = batch.rows, batch.payloads
        with pytest.raises(errors.StaleEpochError) as stale:
            await store.execute(epoch - 1, Execute(1, True, SIGNER.public_key), parts)
        assert stale.value.args == (epoch - 1, epoch)
        _, header, _ = await commit(storage, store, driver, epoch)
        with pytest.raises(errors.HeightError, match="commit: got height 3"):
            await store.commit(epoch, Commit(3, certificate(header), False), 3)
        with pytest.raises(FormatError, match="proposer") as wrong:
            await store.execute(epoch, Execute(2, True, b"short"), parts)
        assert wrong.value.field == "proposer"
        monkeypatch.setattr(storage._chain.raft_log, "put", None)  # a bug, as far as the caller can tell
        with pytest.raises(UnexpectedError, match="TypeError"):
            await store.append_record(epoch, LogRecord(hard_state=b"x"))
        assert handle.through_ray() == {"fence": 1}

    run(storage, scenario)


def test_blocks_over_a_line_and_through_ray_take_turns(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither may enter while the other is inside."""

    async def scenario(store: StorageCalls, handle: Handle) -> None:
        driver = Driver(storage._chain, ACCOUNTS)
        epoch, _ = await handle.fence.remote()
        batch = driver.batch(3)
        inside, most = 0, 0

        def slow(*_arguments: object) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1
            raise errors.HeightError("slow", 0, 0)

        monkeypatch.setattr(storage._chain, "execute", slow)
        ways = store.execute, handle.execute.remote
        small = epoch, Execute(1, True, SIGNER.public_key)
        state = [
            ways[0](*small, (batch.rows, batch.payloads))
            if n % 2
            else ways[1](*small, batch.rows, batch.payloads)
            for n in range(10)
        ]
        told = await asyncio.gather(*state, return_exceptions=True)
        assert {type(error) for error in told} == {errors.HeightError}
        assert most == 1

    run(storage, scenario)


def test_what_breaks_under_way_fails_and_the_line_is_sought_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(store: StorageCalls, handle: Handle) -> None:
        epoch, _ = await handle.fence.remote()
        arrived, go = threading.Event(), threading.Event()
        honest = storage._chain.append_record

        def stuck(*arguments: Any) -> None:
            arrived.set()
            go.wait(30)
            honest(*arguments)

        monkeypatch.setattr(storage._chain, "append_record", stuck)
        record = LogRecord(hard_state=b"x")
        under_way = asyncio.create_task(store.append_record(epoch, record))
        await asyncio.to_thread(arrived.wait, 30)
        hang_up(store._disk._line)
        with pytest.raises(LineEndedError):
            await under_way
        assert issubclass(LineEndedError, calls.FAILURES)
        monkeypatch.setattr(storage._chain, "append_record", honest)
        go.set()
        await until(lambda: store._disk._line)
        await store.append_record(epoch, record)
        assert handle.through_ray() == {"fence": 1}

    run(storage, scenario)


def test_a_call_waits_for_a_line_and_fails_without_one(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        handle = Handle(storage)
        store = StorageCalls(remote(handle), (ConnectionError,))
        epoch, _ = await handle.fence.remote()
        record = LogRecord(hard_state=b"x")
        waiting = asyncio.create_task(store.append_record(epoch, record))
        await asyncio.sleep(0)
        kept = asyncio.create_task(store.keep())
        await waiting
        assert storage._chain.raft_log.read().hard_state == b"x"
        kept.cancel()
        await asyncio.gather(kept, return_exceptions=True)
        monkeypatch.setattr(calls, "LINE_WAIT_S", 0.01)
        with pytest.raises(LineEndedError, match="no line"):
            await store.append_record(epoch, record)
        assert handle.through_ray() == {"fence": 1}

    asyncio.run(scenario())


def test_what_a_line_takes_no_more_of_fails(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: StorageCalls, handle: Handle) -> None:
        epoch, _ = await handle.fence.remote()
        monkeypatch.setattr(local_socket, "FRAME_BYTES_MAX", 10)
        with pytest.raises(LineEndedError, match="takes no more"):
            await store.append_record(epoch, LogRecord(hard_state=b"x"))
        assert not store._disk._waiting

    run(storage, scenario)


def test_every_error_of_storage_survives_the_line() -> None:
    for kind in calls._KINDS.values():
        made = kind("a", 2, "3") if kind is FormatError else kind("a", 2, "3", 4)
        answer = calls.decode_answer(encode(calls.Answer(7, calls.failed(made))))
        assert isinstance(answer.told, calls.Failed)
        back = calls.error_of(answer.told)
        assert type(back) is kind
        assert (answer.number, str(back)) == (7, str(made))


def test_a_frame_that_is_no_request_ends_the_line(storage: Storage) -> None:
    async def scenario(store: StorageCalls, _handle: Handle) -> None:
        line = present(store._disk._line)
        line.send(["no request"])
        await line.ended.wait()
        await until(lambda: store._disk._line not in (None, line))

    run(storage, scenario)


def test_a_stopped_desk_is_gone() -> None:
    desk = LocalRpcServer(lambda request: request, "desk")

    async def scenario() -> None:
        from actors.local_socket import call

        line = await call(desk.name, lambda _: None)
        await asyncio.to_thread(desk.close)
        await line.ended.wait()
        with pytest.raises(OSError, match="No such file"):
            await call(desk.name, lambda _: None)

    asyncio.run(scenario())


def test_a_desk_whose_thread_has_ended_closes_all_the_same() -> None:
    desk = LocalRpcServer(lambda request: request, "desk")
    desk._closed = True  # as when a caller comes between the word to close and the bell
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(desk.name)
        desk._thread.join(10)
    assert not desk._thread.is_alive()
    desk.close()
