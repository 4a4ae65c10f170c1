"""Who may ask how often: token buckets and requests in flight, a client and in total. The time comes in.

A client is its API key's name, or else its address; before a request is read, its address. Buckets of the
CLIENTS_MAX most recent clients are kept; one that was forgotten starts with a full bucket again, so the bound
costs accuracy and never memory.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from actors.gateway.roles import AccessRole
from actors.ledger.rows import FormatError

CLIENTS_MAX = 10_000
API_KEYS_MAX = 10_000
API_KEY_FILE_BYTES_MAX = 4 << 20


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class ClientRates:
    """What each client may do a second, and as much of it at once. A rate of 0 means no bound."""

    def __init__(self, rate_max: int) -> None:
        self.rate_max = rate_max
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str, now_s: float, cost: int = 1) -> bool:
        """Whether a client may; then it is counted."""
        if not self.rate_max:
            return True
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(float(self.rate_max), now_s)
            while len(self._buckets) > CLIENTS_MAX:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        bucket.tokens = min(self.rate_max, bucket.tokens + (now_s - bucket.at) * self.rate_max)
        bucket.at = now_s
        if bucket.tokens < cost:
            return False
        bucket.tokens -= cost
        return True


class ClientLimits:
    """Requests a second and in flight of each client. A rate of 0 means no bound on the rate.

    Of the requests in flight a client has no more than are left for others, whatever its own bound.
    """

    def __init__(self, rate_max: int, inflight_max: int, total_max: int) -> None:
        self._rates, self._inflight_max, self._total_max = ClientRates(rate_max), inflight_max, total_max
        self._held: dict[str, int] = {}
        self.inflight = 0

    def enter(self, name: str, now_s: float) -> tuple[str, int] | None:
        """Count a request in. Otherwise the bound that it meets and its value, and nothing is counted."""
        if self.inflight >= self._total_max:
            return "requests in flight", self._total_max
        held = self._held.get(name, 0)
        if held >= min(self._inflight_max, self._total_max - self.inflight):
            return "your requests in flight", self._inflight_max
        if not self._rates.take(name, now_s):
            return "your requests a second", self._rates.rate_max
        self._held[name] = held + 1
        self.inflight += 1
        return None

    def leave(self, name: str) -> None:
        """A request that `enter` counted is answered."""
        self.inflight -= 1
        held = self._held.get(name, 0)
        if held > 1:
            self._held[name] = held - 1
        else:
            self._held.pop(name, None)


class ApiKeys:
    """Keys by the SHA-256 of their text, so that the file that lists them lets nobody in."""

    def __init__(self, roles: dict[str, tuple[str, AccessRole]]) -> None:
        self._roles = roles

    def __len__(self) -> int:
        return len(self._roles)

    def find(self, digest: str) -> tuple[str, AccessRole] | None:
        """Name and role of a key by its digest, or None. The time of a look-up tells nothing of keys."""
        return self._roles.get(digest)


class KeyFile:
    """The file of keys, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None

    def changed(self) -> ApiKeys | None:
        """Its keys, if it is another file than at the last call.

        Raises FormatError naming the line, OSError or UnicodeDecodeError where it cannot be read; each once.
        """
        stamp = self._look()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        with self._path.open("rb") as file:
            return read_api_keys(file.read(API_KEY_FILE_BYTES_MAX + 1).decode())

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            if self._stamp == _MISSING:
                return _MISSING
            self._stamp = _MISSING
            raise
        return found.st_ino, found.st_mtime_ns, found.st_size


_MISSING = (-1, -1, -1)


def digest_of(key: str) -> str:
    """SHA-256 of a key's text, in hexadecimal, as the file of keys has it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_api_keys(text: str) -> ApiKeys:
    """Lines of `SHA256-HEX ROLE NAME`; empty lines and those with # are passed over.

    Raises FormatError naming the line.
    """
    if len(text) > API_KEY_FILE_BYTES_MAX:
        raise FormatError("api_keys_file", f"{len(text)} characters", f"{API_KEY_FILE_BYTES_MAX} at most")
    roles: dict[str, tuple[str, AccessRole]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        names = {role.name.lower(): role for role in AccessRole if role is not AccessRole.PUBLIC}
        valid = len(parts) == 3 and len(parts[0]) == 64 and parts[1] in names
        if not valid or set(parts[0]) - set("0123456789abcdef"):
            expected = "64 lower-case hex digits, read, submit or admin, and a name"
            raise FormatError(f"api_keys_file line {number}", line[:80], expected)
        if len(roles) == API_KEYS_MAX:
            raise FormatError("api_keys_file", "more keys", f"{API_KEYS_MAX} keys at most")
        roles[parts[0]] = (parts[2], names[parts[1]])
    return ApiKeys(roles)
