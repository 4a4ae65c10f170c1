"""The Ray shell of the gateway: an async actor with an HTTP server in its own event loop.

Ray builds an async actor inside its loop, so the constructor can begin to serve; that is how a restarted
gateway comes back, since a restart reruns the constructor alone. All methods run in that one loop: none may
block. Every error of Ray becomes UnavailableError here, so the core has one kind of absence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import secrets
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError, RayError

from actors.faces import ConsensusFace, MempoolFace, PeerFace, remote
from actors.gateway.api import create_app
from actors.gateway.backend import UnavailableError
from actors.gateway.edge import exposed_without_keys
from actors.gateway.limits import KeyFile
from actors.gateway.membership import Membership
from actors.gateway.node_health import Health, NodeHealth
from actors.gateway.server import HttpServer, bind_kept, read_tls
from actors.gateway.service import Service
from actors.kernels.interface import Choice
from actors.kernels.selection import select
from actors.ledger.delta import Delta
from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError
from actors.near.messages import CommittedCall, NearError
from actors.near.server import NearServer
from actors.near.shard import NearShard
from actors.sdk.answers import network_mark
from actors.settings import GatewaySettings
from actors.shell import ActorContext, Shell, freeze_long_lived, kernel_cache_dir, node_prefix
from actors.storage.interface import StorageFace
from actors.validator.actor import validators_of

DROPS_PAUSE_S, DROPS_WAIT_S = 0.25, 10.0
KEYS_LOOK_S = 1.0
OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0, "max_concurrency": 10_000}


class _Calls:
    """An actor's face whose calls are coroutines, with Ray's errors turned into UnavailableError.

    A method that returns several things answers all of them.
    """

    def __init__(self, name: str, face: Any, log: Any) -> None:
        self._name, self._face, self._log = name, face, log

    def __getattr__(self, method: str) -> Any:
        async def call(*arguments: Any) -> Any:
            try:
                answer = getattr(self._face, method)(*arguments)
                return await (asyncio.gather(*answer) if isinstance(answer, list) else answer)
            except (RayError, NearError) as error:
                if not isinstance(error, RayActorError):
                    self._log.error("{}.{} failed: {}", self._name, method, error)
                raise UnavailableError(self._name) from error

        setattr(self, method, call)
        return call


def _reachable(name: str, face: Any, log: Any) -> Any:
    """The face of an actor; who asks names the face's type."""
    return _Calls(name, face, log)


def _allow_open_files() -> None:
    """As many open files as the system lets this process have: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _ForwardedLogs(logging.Handler):
    """What uvicorn logs, into the actor's own log."""

    def __init__(self, log: Any) -> None:
        super().__init__(logging.ERROR)  # below it are faults of clients, one a request
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.opt(exception=record.exc_info).log(record.levelname, "{}", record.getMessage())


class Gateway(Shell):
    """One HTTP face of the node; any number may run beside each other."""

    def __init__(
        self,
        context: ActorContext,
        settings: GatewaySettings,
        genesis: Genesis,
        number: int,
        shards: list[Any],
        storage: Any,
        consensus: Any,
        peer: Any,
        kernel_choice: Choice = "auto",
    ) -> None:
        super().__init__(context)
        self._settings, self._number = settings, number
        self._name = node_prefix(genesis.hash(), context.node)
        log = self.log
        _allow_open_files()
        server_log = logging.getLogger("uvicorn")
        server_log.handlers, server_log.propagate = [_ForwardedLogs(log)], False
        self._shards: list[MempoolFace] = [
            _reachable(f"mempool shard {i}", NearShard(remote(shard), (RayError,)), log)
            for i, shard in enumerate(shards)
        ]
        self._watchers: list[asyncio.Task[None]] = []
        self._near = NearServer(self._run_near)
        replica: ConsensusFace = _reachable("consensus", remote(consensus), log)
        reads: StorageFace = _reachable("storage", remote(storage), log)
        self._service = Service(
            settings,
            genesis,
            [shard.admit for shard in self._shards],
            reads,
            replica.status,
            secrets.randbits(128),
            select(kernel_choice, kernel_cache_dir()).hash_rows,
            self._neighbours(reads, replica, _reachable("peer", remote(peer), log)),
            replica.read_index,
            members=replica.members,
            pending=[shard.pending for shard in self._shards],
        )
        if refusal := exposed_without_keys(settings):
            raise ValueError(refusal)
        self._key_file = KeyFile(Path(settings.api_keys_file)) if settings.api_keys_file else None
        self._keys_problem = ""
        keys = self._key_file.changed() if self._key_file else None
        membership = Membership(replica.members, replica.change_member)
        self._app = create_app(self._service, self._report, settings, keys, membership)
        self._tls = read_tls(settings.tls_certificate_file, settings.tls_key_file)
        self._serving: asyncio.Task[HttpServer] | None = None
        with contextlib.suppress(RuntimeError):
            self._serve_once()

    def _neighbours(self, storage: StorageFace, consensus: ConsensusFace, peer: PeerFace) -> NodeHealth:
        health: dict[str, Health] = {"storage": storage.health, "consensus": consensus.health}
        health["peer"] = peer.health
        health |= {f"mempool-{number}": shard.health for number, shard in enumerate(self._shards)}
        health[f"gateway-{self._number}"] = self.health
        return NodeHealth(health, peer.peers, consensus.scale_validators, self._validators)

    async def _validators(self) -> dict[str, Health]:
        """How each Validator that the node has now is asked for its health."""
        found = await asyncio.to_thread(validators_of, self._name)
        return {name: _reachable(name, remote(handle), self.log).health for name, handle in found.items()}

    def _report(self, what: str, error: Exception) -> None:
        self.log.opt(exception=error).error("{} failed", what)

    def _serve_once(self) -> asyncio.Task[HttpServer]:
        """Begin to serve, once. Raises RuntimeError outside an event loop."""
        if self._serving is None:
            loop = asyncio.get_running_loop()
            self._serving = loop.create_task(self._serve())
            # Retrieved here too, so that a failure nobody awaits yet is not reported by the loop.
            self._serving.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._serving

    async def _serve(self) -> HttpServer:
        port = self._settings.port if self._number == 0 else 0
        kept = Path(self.context.data_dir) / f"gateway-{self._number}.port"
        listener = await bind_kept(self._settings.host, port, kept)
        server = HttpServer(
            self._app, listener, self._tls, self._settings, network_mark(self._service.genesis)
        )
        await server.started()
        self._watchers = [asyncio.create_task(self._watch_drops(*each)) for each in enumerate(self._shards)]
        self._watchers.append(asyncio.create_task(self._service.readiness.watch()))
        if self._key_file is not None:
            self._watchers.append(asyncio.create_task(self._watch_keys(self._key_file)))
        for watcher in self._watchers:
            watcher.add_done_callback(self._watcher_ended)
        freeze_long_lived()
        self.log.info("serves {}", server.url)
        return server

    async def start(self) -> dict[str, object]:
        """Serve. Returns `url`. Idempotent. Raises OSError when the address stays taken."""
        try:
            server = await asyncio.shield(self._serve_once())
        except OSError:
            self._serving = None
            raise
        return {"url": server.url}

    async def _watch_drops(self, number: int, shard: Any) -> None:
        """Have a shard say which accepted rows it gave up, as soon as there are some, and end their waits.

        Asked also while nobody waits: an old drop must not end the wait of a later submission of the row. One
        that dies says nothing any more, and what it held for us is gone.
        """
        since = 0
        while True:
            try:
                since, ids, verdicts = await shard.dropped(since, DROPS_WAIT_S)
            except UnavailableError:
                await self._service.shard_died(number)
            else:
                self._service.dropped(ids, verdicts)
            await asyncio.sleep(DROPS_PAUSE_S)

    async def _watch_keys(self, file: KeyFile) -> None:
        """Have other keys count soon after the file changed; a file that cannot be read changes nothing."""
        while True:
            await asyncio.sleep(KEYS_LOOK_S)
            try:
                keys = file.changed()
            except (OSError, ValueError, FormatError) as error:
                self._keys_problem = f"the keys of before count on: {error}"
                self.log.error("{}: {}", self._settings.api_keys_file, self._keys_problem)
                continue
            if keys is not None:
                self._keys_problem = ""
                self._app.gate.replace_keys(keys)
                self.log.info("{} API keys count from now on", len(keys))

    def _watcher_ended(self, watcher: asyncio.Task[None]) -> None:
        error = None if watcher.cancelled() else watcher.exception()
        if isinstance(error, Exception):
            self._report("a watcher of the gateway", error)

    async def near_line(self) -> str:
        """Where callers on this machine find this gateway's line."""
        return await self._near.name()

    async def _run_near(self, call: Any) -> None:
        if isinstance(call, CommittedCall):
            await self.committed(*call.deltas)

    async def committed(self, *deltas: Delta) -> None:
        """Blocks are final. Any order, and twice, is fine."""
        for delta in deltas:
            self._service.committed(delta)
            self._app.events.published(delta)

    async def health(self) -> dict[str, object]:
        """The process, the URL, connections, and the service's figures."""
        server = self._server()
        return {
            **self.process_health(),
            "url": None if server is None else server.url,
            "connections": 0 if server is None else server.connections,
            "connections_by_bound": {} if server is None else server.figures(),
            "api_keys_problem": self._keys_problem,
            **self._service.figures(),
            **self._app.figures(),
        }

    def _server(self) -> HttpServer | None:
        task = self._serving
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    async def stop(self) -> None:
        """Finish the requests at hand, with 503 those that wait for a commit, close the port; idempotent."""
        self._near.close()
        self._service.stop()
        for watcher in self._watchers:
            watcher.cancel()
        server = self._server()
        if server is not None:
            await server.stop()
        elif self._serving is not None:
            self._serving.cancel()
        self.log.info("stopped")
