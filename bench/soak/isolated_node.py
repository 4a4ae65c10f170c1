"""Nodes in Ray clusters of their own on one machine, as organisations run them. All they share is the wire.

    soak (Outposts, FarNode)  <-- Unix socket of a manager, by key -->  _Post: a process with cluster and node

A post is started again on its files and its ports after all of it was killed, Ray's head included. It ends by
itself when the soak does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing import get_context, parent_process, util
from multiprocessing.connection import wait
from multiprocessing.managers import BaseManager, RemoteError
from pathlib import Path
from typing import Any

import psutil

from actors.console import UserError
from actors.directory import NetworkDirectory, NodeFolder, open_network
from actors.settings import Settings

STOP_S_MAX = 90.0
UNREACHABLE = (OSError, EOFError, RemoteError)
Progress = Callable[[str], None]


class _Post:
    """In the process of a post: a Ray cluster with one node."""

    def __init__(self, settings: Settings, path: Path, name: str, members: int) -> None:
        from actors.cluster.actor import RayCluster
        from actors.topology import started_nodes

        directory = open_network(path, settings.network, members, _silent)
        own = replace(directory, nodes=[folder for folder in directory.nodes if folder.name == name])
        self._stack = ExitStack()
        try:
            self._stack.callback(RayCluster(settings).close)
            (self._node,) = self._stack.enter_context(started_nodes(settings, own, _silent))
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Stop the node, then Ray."""
        self._stack.close()

    def call(self, actor: str, method: str, arguments: tuple[Any, ...], timeout_s: float) -> Any:
        """Answer of one actor; raises what it raised."""
        return self._node.call(actor, method, *arguments, timeout_s=timeout_s)

    def health(self) -> dict[str, dict[str, Any] | None]:
        """Of every actor."""
        return self._node.health()

    def facts(self) -> dict[str, dict[str, Any]]:
        """What `start` answered, by actor."""
        return self._node.facts

    def pid(self) -> int:
        """Of this process, which has all of the cluster below it."""
        return os.getpid()


_posts: list[_Post] = []  # the one of this process


def _begin(settings: Settings, path: Path, name: str, members: int) -> None:
    """Start the post of this process; it is stopped on the way out, and when whoever started it has gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _posts.append(_Post(settings, path, name, members))
    util.Finalize(None, _posts[0].close, exitpriority=100)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        _kill_below(psutil.Process())


def _the_post() -> _Post:
    return _posts[0]


class _Manager(BaseManager):
    """Starts a post's process, and carries calls to it, each thread's on a connection of its own."""


_Manager.register("post", callable=_the_post, exposed=("call", "health", "facts", "pid"))


class IsolatedNode:
    """One post as the soak sees it."""

    def __init__(self, settings: Settings, directory: NetworkDirectory, folder: NodeFolder) -> None:
        self._settings, self._directory, self._folder = settings, directory, folder
        self._manager: _Manager | None = None
        self._proxy: Any = None

    @property
    def name(self) -> str:
        """Of its node."""
        return self._folder.name

    def start(self) -> None:
        """Start the process, Ray and the node; on the ports that it had before, if it had any."""
        members = len(self._directory.genesis.members)
        manager = _Manager(ctx=get_context("spawn"), shutdown_timeout=STOP_S_MAX)
        try:
            manager.start(_begin, (self._settings, self._directory.path, self.name, members))
        except EOFError:
            raise UserError(f"the Ray cluster of {self.name} did not start; see above") from None
        self._manager, self._proxy = manager, manager.post()  # type: ignore[attr-defined]
        facts = self.ask("facts")
        gateway, peer = facts["gateway-0"]["url"], facts["peer"]["address"]
        self._settings = self._settings.model_copy(
            update={
                "gateway": self._settings.gateway.model_copy(update={"port": _port(gateway)}),
                "peer": self._settings.peer.model_copy(update={"port": _port(peer)}),
            }
        )

    def ask(self, method: str, *arguments: Any) -> Any:
        """Answer of the post. Raises one of UNREACHABLE when it is gone, else what it raised."""
        return self._proxy._callmethod(method, arguments)

    def kill(self) -> int:
        """SIGKILL every process of the post at once, Ray's head first; how many there were."""
        return _kill_below(psutil.Process(int(self.ask("pid"))))

    def close(self) -> None:
        """Stop it cleanly, if it runs."""
        if self._manager is not None:
            with suppress(*UNREACHABLE):
                self._manager.shutdown()


class FarNode:
    """A node at a post, with what a soak uses of `topology.Node`."""

    def __init__(self, outpost: IsolatedNode, folder: NodeFolder, directory: NetworkDirectory) -> None:
        self._outpost, self.folder, self.directory = outpost, folder, directory
        self.facts: dict[str, dict[str, Any]] = outpost.ask("facts")
        self.actors: dict[str, None] = dict.fromkeys(self.facts)

    @property
    def url(self) -> str:
        """Address of the first gateway."""
        return str(self.facts["gateway-0"]["url"])

    def call(self, actor: str, method: str, *arguments: Any, timeout_s: float = 60) -> Any:
        """Call one actor and wait for the answer."""
        return self._outpost.ask("call", actor, method, arguments, timeout_s)

    def health(self) -> dict[str, dict[str, Any] | None]:
        """Health of every actor; None for one that does not answer."""
        try:
            answers: dict[str, dict[str, Any] | None] = self._outpost.ask("health")
        except UNREACHABLE:
            return dict.fromkeys(self.actors)
        self.actors = dict.fromkeys(answers)
        return answers


@contextmanager
def running_outposts(
    settings: Settings, path: Path, nodes: int, progress: Progress
) -> Iterator[tuple[list[IsolatedNode], list[FarNode]]]:
    """A network of which each node has a Ray cluster of its own; stopped on the way out."""
    from actors.topology import introduce, warm_kernels

    directory = open_network(path, settings.network, nodes, progress)
    warm_kernels(progress)
    progress(f"starting {nodes} Ray clusters")
    posts = [IsolatedNode(settings, directory, folder) for folder in directory.nodes]
    with ExitStack() as stack, ThreadPoolExecutor(nodes) as starters:
        stack.callback(_close, posts, progress)
        list(starters.map(IsolatedNode.start, posts))
        far = [FarNode(post, folder, directory) for post, folder in zip(posts, directory.nodes, strict=True)]
        introduce(far)
        yield posts, far


def _close(posts: list[IsolatedNode], progress: Progress) -> None:
    progress("stopping")
    with ThreadPoolExecutor(len(posts)) as stoppers:
        list(stoppers.map(IsolatedNode.close, posts))


def _kill_below(top: psutil.Process) -> int:
    """SIGKILL all below a process, those first that would start others again, and then itself."""
    doomed = [*top.children(recursive=True), top]
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(doomed, timeout=STOP_S_MAX)
    return len(doomed)


def _port(address: str) -> int:
    return int(address.rstrip("/").rpartition(":")[2])


def _silent(_text: str) -> None:
    """Progress of a post, which its soak does not show."""
