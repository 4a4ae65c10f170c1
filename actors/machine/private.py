"""Whether a file with a key or a token is for this user alone. Knows no Ray."""

from __future__ import annotations

import os
import stat

OPEN_TO_OTHERS = 0o077
_GROUP_READS = 0o040


def opened(found: os.stat_result, refused: int = OPEN_TO_OTHERS) -> str:
    """The mode of a file or folder that is open to others, as text; "" if it is not. `refused`: which bits
    open it.

    A secret that a container mounts belongs to root, and its group is that of the process which is to read it
    (Kubernetes' fsGroup): there the group may read.
    """
    mode = stat.S_IMODE(found.st_mode)
    mounted = found.st_uid == 0 != os.getuid() and found.st_gid in {os.getgid(), *os.getgroups()}
    return f"mode {mode:04o}" if mode & (refused & ~_GROUP_READS if mounted else refused) else ""
