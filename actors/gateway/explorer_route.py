"""The explorer's files, read once at the start and served from memory; nothing outside is reachable.

The page may load from this gateway alone: its Content-Security-Policy forbids every other address, inline
scripts included.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from actors.gateway.body import Receive, Scope, Send, send_answer, send_problem
from actors.gateway.problem import ProblemError
from actors.gateway.roles import AccessRole, needs

EXPLORER_PATH = "/explorer/"
_FOLDER = Path(__file__).parent / "explorer"
_MEDIA = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript"}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


@needs(AccessRole.READ)
class ExplorerRoute:
    """The ASGI application of /explorer/; `/` leads there."""

    def __init__(self) -> None:
        files = sorted(path for path in _FOLDER.iterdir() if path.suffix in _MEDIA)
        self._files = {EXPLORER_PATH + path.name: (path.read_bytes(), _MEDIA[path.suffix]) for path in files}
        self._files[EXPLORER_PATH] = self._files[EXPLORER_PATH + "index.html"]

    @staticmethod
    def takes(path: str) -> bool:
        """Whether a path is the explorer's."""
        return path in ("/", EXPLORER_PATH[:-1]) or path.startswith(EXPLORER_PATH)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] in ("/", EXPLORER_PATH[:-1]):
            await send_answer(send, 307, "text/plain", b"", [(b"location", EXPLORER_PATH.encode())])
            return
        if scope["path"] not in self._files:
            await send_problem(send, ProblemError("not-found", "the explorer has no such file", field="path"))
            return
        body, media = self._files[scope["path"]]
        etag = b'"' + blake2b(body, digest_size=16).hexdigest().encode() + b'"'
        if etag in dict(scope["headers"]).get(b"if-none-match", b""):
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", etag)]})
            await send({"type": "http.response.body", "body": b""})
            return
        await send_answer(send, 200, media, body, [*_HEADERS, (b"etag", etag)])
