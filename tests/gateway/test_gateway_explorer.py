"""The explorer in a real browser with real blocks: live, proofs, search; screenshots of what people see.

RAYCHAIN_SCREENSHOTS=FOLDER keeps the screenshots.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

import httpx
import pytest

from actors.gateway import explorer_route
from actors.gateway.api import Api, create_app
from actors.gateway.server import HttpServer, bind
from actors.ledger import block, genesis
from tests.gateway.browser import BrowserError, Page, find_chromium, opened
from tests.gateway.gateway_fake_node import SENDERS, FakeNode, until

EXPLORER_FILES = sorted((Path(explorer_route.__file__).parent / "explorer").iterdir())
LINES_MAX, BYTES_MAX = 400, 32 * 1024
# The proof as it is, then with one thing wrong at a time.
CHECKS = """(async () => {
  const [proof, api] = [await import('/explorer/proof.js'), await import('/explorer/api.js')];
  const genesis = await api.readBytes('/v1/genesis');
  const tx = await api.read('/v1/transactions/ID'), given = await api.read('/v1/transactions/ID/proof');
  const outcomes = [];
  const check = async (changed, wrong) => {
    const steps = await proof.checkProof({ ...tx, ...changed }, { ...given, ...wrong }, genesis);
    outcomes.push(steps.every((step) => step.passed));
  };
  await check({}, {});
  await check({ amount: 6 }, {});
  await check({}, { index: 1 });
  await check({}, { size: 7 });
  await check({}, { certificate: '0000' });
  const older = given.certificate.slice(0, 8) + '00' + given.certificate.slice(10);
  await check({}, { certificate: older });
  await check({}, { signature: '00'.repeat(64) });
  await check({}, { header: given.header.replace(/..$/, '00') });
  return outcomes.map(Number).join('');
})()"""


class Explored:
    """A node, its API, and blocks on demand."""

    def __init__(self, node: FakeNode | None = None) -> None:
        self.node, self.faults = node or FakeNode(), []  # type: ignore[var-annotated]
        self.api: Api = create_app(self.node.service, lambda *fault: self.faults.append(fault))

    def commit(self, count: int) -> None:
        nonces = [self.node.state[signer.public_key].nonce for signer in SENDERS]
        self.node.time_ms = time.time_ns() // 1_000_000
        self.node.shards[0].pending = [
            self.node.transfer(i % 8, nonces[i % 8] + i // 8, payload=b"hello" if i == 3 else b"")
            for i in range(count)
        ]
        self.api.events.published(self.node.delta(self.node.commit().header.height))


def test_the_explorer_in_a_browser(tmp_path: Path) -> None:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium runs on this machine: install chromium to test the explorer")
    pictures = Path(os.environ.get("RAYCHAIN_SCREENSHOTS", tmp_path))

    async def scenario() -> None:
        explored = Explored()
        for count in (5, 40, 12):
            explored.commit(count)
        server = HttpServer(explored.api, await bind("127.0.0.1", 0, 1.0))
        await server.started()
        async with opened(chromium, server.url, tmp_path / "profile") as page:
            await blocks_arrive_live(page, explored, pictures)
            await a_transaction_is_proven(page, pictures)
            await an_account_is_found_and_followed(page, explored, pictures)
            await every_page_is_reached_and_fits_a_phone(page, pictures)
            assert await page.value(CHECKS.replace("ID", tx_id(explored))) == "10000000"
            assert page.faults == []
        await server.stop()
        assert explored.faults == []

    try:
        asyncio.run(asyncio.wait_for(scenario(), 300))
    except BrowserError as error:
        pytest.skip(f"Chromium does not work on this machine: {error}")


async def blocks_arrive_live(page: Page, explored: Explored, pictures: Path) -> None:
    await page.until("document.querySelector('#live')?.className === 'on'")
    await page.until("document.querySelectorAll('#blocks tr').length === 3")
    explored.commit(30)
    await page.until("document.querySelectorAll('#blocks tr').length === 4")
    await page.until("document.querySelector('#height').textContent === '4'")
    await page.screenshot(pictures / "blocks-desktop.png", 1280, 800)
    await page.screenshot(pictures / "blocks-phone-dark.png", 390, 844, dark=True)


async def a_transaction_is_proven(page: Page, pictures: Path) -> None:
    await page.value("document.querySelector('#blocks a').click()")
    await page.until("document.querySelector('h1').textContent === 'Block 4'")
    await page.value("document.querySelectorAll('table a[href^=\"#/tx/\"]')[3].click()")
    await page.until("document.querySelector('#check') !== null")
    await page.value("document.querySelector('#check').click()")
    assert await page.until("document.querySelector('#proof').dataset.proven") == "true"
    assert await page.value("document.querySelectorAll('#proof li').length") == 4
    await page.screenshot(pictures / "transaction-desktop-dark.png", 1280, 800, dark=True)
    await page.screenshot(pictures / "transaction-phone.png", 390, 844)


async def an_account_is_found_and_followed(page: Page, explored: Explored, pictures: Path) -> None:
    key = SENDERS[2].public_key
    await page.type_and_enter("#query", key.hex())
    await page.until("document.querySelector('#balance')?.textContent.length > 1")
    await until(lambda: len(explored.api.events.hub) >= 2)
    explored.commit(8)
    await page.until("document.querySelectorAll('#events tr').length === 2")
    balance = f"{explored.node.state[key].balance:,}"
    await page.until(f"document.querySelector('#balance').textContent === {balance!r}")
    await page.screenshot(pictures / "account-desktop.png", 1280, 800)
    await page.type_and_enter("#query", "2")
    await page.until("document.querySelector('h1').textContent === 'Block 2'")
    await page.type_and_enter("#query", "not a thing")
    await page.until("document.querySelector('main .bad') !== null")


async def every_page_is_reached_and_fits_a_phone(page: Page, pictures: Path) -> None:
    """By keyboard: focus on a link and Enter."""
    for name in ("node", "peers"):
        await page.value(f"document.querySelector('nav a[href=\"#/{name}\"]').focus()")
        await page.press("Enter")
        await page.until(f"document.querySelector('h1').textContent.toLowerCase() === '{name}'")
        await page.until("document.querySelectorAll('main tbody tr').length > 0")
        if name == "node":  # figures that need two looks
            await page.until("document.querySelector('#actors').textContent.includes('%')")
            await page.until("document.querySelectorAll('#scaling polyline').length === 1")
        else:
            await page.until("document.querySelectorAll('main circle').length === 2")
        await page.screenshot(pictures / f"{name}-desktop.png", 1280, 800)
        await page.screenshot(pictures / f"{name}-phone-dark.png", 390, 844, dark=True)
        assert await page.value("document.documentElement.scrollWidth") <= 390


def tx_id(explored: Explored) -> str:
    return str(explored.node.blocks[1].batch.ids()[0].tobytes().hex())


def test_the_explorer_is_served_from_its_folder_alone() -> None:
    async def scenario() -> None:
        transport = httpx.ASGITransport(Explored().api)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get("/")).headers["location"] == "/explorer/"
            page = await http.get("/explorer/")
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert "http://" not in page.text.replace("http://www.w3.org", "")
            same = await http.get("/explorer/", headers={"if-none-match": page.headers["etag"]})
            assert same.status_code == 304
            for file in EXPLORER_FILES:
                assert (await http.get(f"/explorer/{file.name}")).status_code == 200
            for path in ("../api.py", "%2e%2e/api.py", "nothing.js", "app.js/", "explorer_route.py"):
                assert (await http.get(f"/explorer/{path}")).status_code == 404

    asyncio.run(scenario())


def test_the_pages_have_no_inline_handlers_and_make_no_markup_of_data() -> None:
    for path in EXPLORER_FILES:
        text = path.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|<[^>]+\son\w+=", text
        )
        assert len(text.splitlines()) < LINES_MAX
        assert path.stat().st_size < BYTES_MAX


def test_the_page_signs_for_the_same_domains_as_the_ledger() -> None:
    page = (Path(explorer_route.__file__).parent / "explorer" / "proof.js").read_text()
    for module in (block, genesis):
        for domain in re.findall(r'b"(raychain/[^"]+)"', Path(str(module.__file__)).read_text()):
            assert f'"{domain}"' in page
