"""The Ray shell of a cluster: starts a local one that only this user on this machine reaches, or joins one.

A local cluster binds every port to loopback, keeps its files in a session of this process (see
machine/runtime.py) and asks for that session's token. No process of it is left when it is closed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.console import UserError
from actors.machine.limits import object_store_mb, read_limits
from actors.machine.processes import adopt_orphans, children, end_all, family
from actors.machine.runtime import RuntimeFolder, RuntimeFolderError, keep_private, runtime_dir
from actors.machine.standard_error import SilencedNativeStderr
from actors.machine.stopping import check, take_back

if TYPE_CHECKING:
    import psutil

    from actors.settings import Settings

STARTS_MAX = 3
CLOSE_TIMEOUT_S = 10
_ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # each actor sets its own priority
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_maximum_startup_concurrency": "16",  # or Ray warns of every eighth process that starts
    # The object store costs a message 2 ms of CPU whatever its size; 1,000 rows in the call cost less.
    "RAY_max_direct_call_object_size": str(512 << 10),
    "RAY_prestart_worker_first_driver": "0",  # no process that no actor asked for
    # A busy machine is slow and not stuck; node.start_timeout_s decides.
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_worker_register_timeout_seconds": "600",
}
_CARRIERS = ("raylet", "gcs_server")
# Ray's only word for "this machine alone": all its servers then listen on loopback.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def prepare() -> None:
    """Have Ray, in this process and below it, start as a node needs it. Before Ray is imported."""
    keep_private()
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})


def require_runtime_dir(chosen: str) -> None:
    """Raise UserError where the setting cluster.runtime_dir, or the machine, leaves no folder for sockets."""
    try:
        runtime_dir(chosen)
    except RuntimeFolderError as error:
        raise UserError(str(error)) from None


def open_session(chosen: str = "") -> RuntimeFolder:
    """A session for a local cluster, and Ray told of it; as the setting cluster.runtime_dir says.

    Raises UserError where no folder can be had.
    """
    prepare()
    require_runtime_dir(chosen)
    session = RuntimeFolder.open(chosen)
    os.environ.update(session.environment() | _LOOPBACK)
    import ray
    from ray._private import parameter, ray_constants

    # What Ray read when it was imported, which may have been before.
    native: Any = ray._raylet
    native.Config.initialize("")
    native.AuthenticationTokenLoader.instance().reset_cache()
    ray_constants.ENABLE_RAY_CLUSTER = False
    if isinstance(
        parameter.RayParams, type
    ):  # no autoscaler and no tail of logs: two processes of 50 MB less
        parameter.RayParams = functools.partial(
            parameter.RayParams, no_monitor=True, include_log_monitor=False
        )
    # No server of a dashboard that is not included: Ray starts one all the same, 54 MB and a second of CPU.
    from ray._private.node import Node

    Node.start_api_server = _no_api_server
    return session


def _no_api_server(node: Any, **_options: Any) -> None:
    """In place of Ray's Node.start_api_server."""
    node._webui_url = ""


_closing: list[RayCluster] = []
_die_with_parent: list[Callable[[], None]] = []


def _apart() -> None:
    """What Ray's processes do before they begin, in place of Ray's own part of it: also leave this process's
    group, so that a signal to the group, as of a terminal, reaches who stops them in order."""
    _die_with_parent[0]()
    os.setpgrp()


def lost() -> str:
    """Which of the processes that carry this process's local cluster has died; empty while all live, and once
    they are being stopped."""
    import ray

    if _closing:
        return ""

    node = ray._private.worker._global_node
    dead = node.dead_processes() if node is not None and node.is_head() else []
    return ", ".join(sorted({str(kind) for kind, _ in dead if kind in _CARRIERS}))


class RayCluster:
    """A local Ray cluster of this process, or a connection to one that runs elsewhere."""

    def __init__(self, settings: Settings) -> None:
        cluster = settings.cluster
        self.local = not cluster.address
        options: dict[str, Any] = {"address": cluster.address or "local"}
        self._session = open_session(cluster.runtime_dir) if self.local else None
        self._others = children()
        if self._session is not None:
            adopt_orphans()
            store_mb = object_store_mb(cluster.object_store_mb, read_limits())
            options |= {"include_dashboard": False, "object_store_memory": store_mb << 20}
            options["_temp_dir"] = str(self._session.ray_dir)
        else:
            prepare()
        import ray

        self._ray = ray
        utils: Any = ray._private.utils
        # Ray would exit by SIGTERM's number from within whatever the main thread is doing.
        utils.set_sigterm_handler = lambda _handler: None
        if utils.set_kill_on_parent_death_linux is not _apart:
            _die_with_parent.append(utils.set_kill_on_parent_death_linux)
            utils.set_kill_on_parent_death_linux = _apart
        # Ray's native code warns of every handle given to a constructor (the tests of kills show it works).
        self._silenced = SilencedNativeStderr()
        # Nor may Ray print to standard output that a worker died; its logs have that.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
        try:
            self._start(options | {"namespace": f"{cluster.namespace}-{os.getpid()}"})
        except BaseException:
            self.close()
            raise

    def _start(self, options: dict[str, Any]) -> None:
        for attempt in range(1, STARTS_MAX + 1):
            try:
                self._ray.init(**options, log_to_driver=False, logging_level="ERROR")
            except Exception as error:  # bare is what Ray raises when a busy machine is late
                self._ray.shutdown()
                check()
                if attempt == STARTS_MAX:
                    raise UserError(f"Ray did not start in {attempt} attempts: {error}") from error
            else:
                take_back()
                return

    def processes(self, actor: str = "") -> list[psutil.Process]:
        """Processes of this local cluster that the operating system sees, or those of one kind of actor."""
        import psutil

        found = []
        for child in family(self._others):
            try:
                title = child.cmdline()[:1]
            except psutil.Error:
                continue
            if not actor or (title and title[0].startswith(f"ray::{actor}")):
                found.append(child)
        return found

    def close(self) -> None:
        """Leave or stop the cluster; no process of a local one stays behind, and no file."""
        _closing.append(self)
        self._ray.shutdown()
        if self._session is not None:
            end_all(CLOSE_TIMEOUT_S, self._others)
            self._session.close()
        self._silenced.end()
        _closing.remove(self)
