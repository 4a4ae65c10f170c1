"""Typed errors of the peer room. Each says which field broke which limit; none of them crashes an actor."""

from __future__ import annotations


class PeerError(Exception):
    """Base of every error that the peer room raises on purpose."""


class ConfigError(PeerError, ValueError):
    """A field of the configuration is missing, malformed or out of range."""


class ProtocolError(PeerError, ValueError):
    """A stranger's bytes broke the protocol. `reason` labels a metric, the message names the limit."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class QueueFullError(PeerError):
    """A bounded send queue has no room for the message; the sender decides whether to wait or to drop."""


class NotConnectedError(PeerError):
    """No established connection leads to that identity."""


class RequestError(PeerError):
    """A request failed: deadline passed, connection lost, refused at a bound, or answered with an error."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
