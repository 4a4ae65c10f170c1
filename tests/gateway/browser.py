"""A headless Chromium driven over its DevTools protocol: enough of it for the tests of the explorer.

BrowserError means that the browser itself failed: it did not start, ended, or answers no more.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

NAMES = ("chromium", "chromium-browser", "google-chrome")
KEYS: dict[str, dict[str, Any]] = {"Enter": {"windowsVirtualKeyCode": 13, "text": "\r"}}
START_TIMEOUT_S, CALL_TIMEOUT_S = 90.0, 60.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
)


class BrowserError(Exception):
    """The browser does not work here; this says nothing of the page."""


def find_chromium() -> str | None:
    """The first browser that runs at all: some systems have a stub in its place."""
    for path in filter(None, map(shutil.which, NAMES)):
        try:
            said = subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if said.returncode == 0:
            return path
    return None


class Page:
    """One tab. Errors of the page and requests to other hosts are collected."""

    def __init__(self, connection: ClientConnection, host: str) -> None:
        self._connection, self._host = connection, host
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())
        self.faults: list[str] = []

    async def _read(self) -> None:
        async for text in self._connection:
            message = json.loads(text)
            if (answer := self._answers.pop(message.get("id"), None)) is not None:
                answer.set_result(message)
            elif message.get("method") == "Runtime.exceptionThrown":
                self.faults.append(json.dumps(message["params"]["exceptionDetails"])[:500])
            elif message.get("method") == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith((self._host, "data:")):
                    self.faults.append(f"asked for {url}")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
            answer = await asyncio.wait_for(self._answers[number], CALL_TIMEOUT_S)
        except (TimeoutError, OSError, WebSocketException) as error:
            raise BrowserError(f"{method}: {error!r}") from error
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is worth in the page."""
        options = {"returnByValue": True, "awaitPromise": True}
        result = await self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Ask until an expression is true; what it is then."""
        for _ in range(1500):
            value = await self.value(expression)
            if value:
                return value
            await asyncio.sleep(0.02)
        text = await self.value("document.body.innerText")
        raise AssertionError(f"never true: {expression}; faults {self.faults}; the page says {text!r}")

    async def type_and_enter(self, selector: str, text: str) -> None:
        """Keyboard input into a field."""
        await self.value(f"document.querySelector({selector!r}).focus()")
        await self.value(f"document.querySelector({selector!r}).select()")
        await self.call("Input.insertText", text=text)
        await self.press("Enter")

    async def press(self, name: str) -> None:
        """A key of KEYS."""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, **KEYS[name])

    async def screenshot(self, path: Path, width: int, height: int, dark: bool = False) -> bytes:
        """A PNG of the page at a size, as light or dark."""
        mobile = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        data = base64.b64decode((await self.call("Page.captureScreenshot"))["data"])
        path.write_bytes(data)
        return data


@contextlib.asynccontextmanager
async def opened(chromium: str, url: str, folder: Path) -> AsyncIterator[Page]:
    """Chromium at a page; its profile lives in `folder`. Raises BrowserError."""
    process = await asyncio.create_subprocess_exec(
        chromium,
        *_FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        target = await _first_page(process, folder / "DevToolsActivePort")
        async with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None) as connection:
            page = Page(connection, url.rsplit(":", 1)[0])
            for domain in ("Page", "Runtime", "Network"):
                await page.call(f"{domain}.enable")
            await page.call("Page.navigate", url=url)
            yield page
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _first_page(process: asyncio.subprocess.Process, port_file: Path) -> dict[str, Any]:
    try:
        async with asyncio.timeout(START_TIMEOUT_S), httpx.AsyncClient() as http:
            while True:
                if process.returncode is not None:
                    raise BrowserError(f"ended with {process.returncode} before it was up")
                if port_file.exists() and port_file.read_text().count("\n"):
                    port = port_file.read_text().split("\n")[0]
                    targets = (await http.get(f"http://127.0.0.1:{port}/json")).json()
                    pages = [target for target in targets if target["type"] == "page"]
                    if pages:
                        return dict(pages[0])
                await asyncio.sleep(0.02)
    except (TimeoutError, httpx.TransportError) as error:
        raise BrowserError(f"not up within {START_TIMEOUT_S:.0f} s: {error!r}") from error
