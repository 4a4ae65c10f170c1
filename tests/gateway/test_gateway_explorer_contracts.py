"""Contracts in the explorer, in a real browser: values to the last digit, forms, state, events, proofs.

RAYCHAIN_SCREENSHOTS=FOLDER keeps the screenshots.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.contracts.failures import Failure
from actors.contracts.ir import Named, Shape
from actors.contracts.json_values import slots_to_json, type_text
from actors.contracts.limits import BYTES_MAX
from actors.contracts.slots import SlotLayout
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U8, U64, U128, Slot, Type, Value, bytes_type
from actors.gateway.server import HttpServer, bind
from actors.ledger.accounts import Account
from tests.gateway.browser import BrowserError, Page, find_chromium, opened
from tests.gateway.gateway_contracts import (
    ALICE,
    BOB,
    COUNTER,
    TOKEN,
    call,
    deploy,
    deploy_source,
    exchange_of,
)
from tests.gateway.gateway_fake_node import SENDERS, until
from tests.gateway.gateway_proving_node import ProvingNode
from tests.gateway.test_gateway_explorer import Explored
from tests.ledger.contract_transactions import example

SUPPLY, RICHES = 2**63 + 1, 2**60 + 1
"""Both are beyond what JavaScript's numbers tell from their neighbours."""
MARKUP = "<img src=x onerror=alert(1)>"
Visit = Callable[[Page, Explored, Path], Awaitable[None]]


def explore(node: ProvingNode, tmp_path: Path, visit: Visit) -> None:
    """Open the explorer of a node in a browser, or skip the test where none works."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium runs on this machine: install chromium to test the explorer")
    pictures = Path(os.environ.get("RAYCHAIN_SCREENSHOTS", tmp_path))

    async def scenario() -> None:
        explored = Explored(node)
        server = HttpServer(explored.api, await bind("127.0.0.1", 0, 1.0))
        await server.started()
        async with opened(chromium, server.url, tmp_path / "profile") as page:
            await page.until("document.querySelector('#live')?.className === 'on'")
            await visit(page, explored, pictures)
            assert page.faults == []
        await server.stop()
        assert explored.faults == []

    try:
        asyncio.run(asyncio.wait_for(scenario(), 300))
    except BrowserError as error:
        pytest.skip(f"Chromium does not work on this machine: {error}")


# -- values -----------------------------------------------------------------------------------------------

KINDS = (BOOL, U8, U64, U128, I64, ADDRESS, HASH, bytes_type(1), bytes_type(BYTES_MAX))
CASES = """(async () => {
  const { decode, encode, fromJson, fromText, parseExact, toJson } = await import('/explorer/values.js');
  const same = (one, other) => JSON.stringify(toJson(one)) === JSON.stringify(toJson(other));
  const wrong = [];
  for (const { names, data, texts, json } of CASES) {
    const values = decode(names, data), answer = parseExact(json);
    const fits = values.every(({ name, type, value }, i) => same(value, fromText(type, texts[i], name))
      && same(value, fromJson(type, answer[name])) && [value].flat().join(', ') === texts[i]);
    const again = values.map(({ type, value }) => encode(type, value)).join('');
    if (!fits || again !== data) wrong.push(data);
  }
  return wrong;
})()"""


def a_value(kind: Type, source: random.Random) -> Value:
    if kind == BOOL:
        return source.random() < 0.5
    if kind.is_integer:
        low, high = kind.range
        near = [low, high, min(high, 2**53), min(high, 2**53 + 1), source.randint(low, high)]
        return source.choice(near)
    return source.randbytes(kind.width_bytes)


def text_of(slot: Slot) -> str:
    if isinstance(slot, tuple):
        return ", ".join(map(text_of, slot))
    if isinstance(slot, bool):
        return str(slot).lower()
    return slot.hex() if isinstance(slot, bytes) else str(slot)


def cases(count: int) -> list[dict[str, Any]]:
    """Values of random types, as their bytes, as text, and as the API's JSON."""
    source, made = random.Random(20), list[dict[str, Any]]()
    for _ in range(count):
        names, slots = list[Named](), list[Slot]()
        for number in range(source.randint(0, 4)):
            shape = Shape(source.choice(KINDS), source.choice((0, 0, 1, 3)))
            values = tuple(a_value(shape.type, source) for _ in range(shape.count or 1))
            names.append(Named(f"n{number}", shape))
            slots.append(values if shape.count else values[0])
        made.append(
            {
                "names": [{"name": each.name, "type": type_text(each.shape)} for each in names],
                "data": SlotLayout(each.shape for each in names).encode(slots).hex(),
                "texts": [text_of(slot) for slot in slots],
                "json": json.dumps(slots_to_json(names, slots)),
            }
        )
    return made


NO_BYTES_OF = (("u64", "00"), ("bool", "02"), ("f64", "00"), ("Array[u8, 2]", "000000"))
NO_TEXTS_OF = (
    ("u8", "256"),
    ("u64", "-1"),
    ("u64", "1.5"),
    ("u64", "1e3"),
    ("u64", ""),
    ("i64", str(2**63)),
    ("u64", "17", 16),
    ("bool", "yes"),
    ("Array[bool, 2]", "true, constructor"),
    ("Bytes[2]", "123"),
    ("Address", "0x12"),
    ("Array[u8, 2]", "1"),
    ("Array[u8, 2]", "1, 2, 3"),
    ("Array[u8, 2]", "1, x"),
)
REFUSALS = """(async () => {
  const { decode, fromText } = await import('/explorer/values.js');
  const words = (tried) => { try { tried(); return 'taken'; } catch (error) { return error.message; } };
  return [
    ...BYTES.map(([type, data]) => words(() => decode([{ name: 'a', type }], data))),
    ...TEXTS.map(([type, text, most]) => words(() => fromText(type, text, 'a', most))),
  ];
})()"""
FIGURES = """(async () => {
  const { failureNames, many, parseExact } = await import('/explorer/values.js');
  const parsed = parseExact(TEXT);
  const figures = [many(parsed.a), many(18446744073709551615n), many(1.5), many(null)];
  return [JSON.stringify(parsed), ...figures, failureNames()];
})()"""


STREAM = """(async () => {
  const { follow } = await import('/explorer/stream.js');
  const own = WebSocket, sockets = [], heard = [];
  globalThis.WebSocket = class { constructor(url) { this.url = url; sockets.push(this); } close() {} };
  const text = (type, height, place) => JSON.stringify({ type, height, place });
  const say = (...parts) => sockets.at(-1).onmessage({ data: text(...parts) });
  const stream = follow('contract=a', (event) => heard.push(event), { from: 3 });
  say('hello', 10); say('event', 4, 0); say('event', 5, 0);
  sockets[0].onclose({ reason: 'cut' });
  while (sockets.length < 2) await new Promise((done) => setTimeout(done, 20));
  say('hello', 11); say('event', 5, 0); say('event', 5, 1); say('event', 6, 0);
  stream.close();
  globalThis.WebSocket = own;
  const events = heard.filter(({ type }) => type === 'event').map(({ height, place }) => [height, place]);
  return [sockets.map(({ url }) => url.split('?')[1]), events];
})()"""


def test_values_and_streams_lose_nothing(tmp_path: Path) -> None:
    document = (
        '{"a": 18446744073709551615, "b": [9007199254740991, 9007199254740992, -9007199254740993], '
        '"c": "[1234567890123456789, \\"1234567890123456789\\\\", "d": 0.12345678901234567890, "e": true}'
    )

    async def visit(page: Page, _explored: Explored, _pictures: Path) -> None:
        assert await page.value(CASES.replace("of CASES", f"of {json.dumps(cases(300))}")) == []
        tried = REFUSALS.replace("BYTES", json.dumps(NO_BYTES_OF)).replace("TEXTS", json.dumps(NO_TEXTS_OF))
        refused = await page.value(tried)
        assert "taken" not in refused
        assert refused[0] == "1 bytes: 8"
        assert refused[4] == "a: expected an integer from 0 to 255"
        assert refused[10] == "a: expected an integer from 0 to 16"
        text, a, most, half, nothing, failures = await page.value(
            FIGURES.replace("TEXT", json.dumps(document))
        )
        expected = json.loads(document)
        expected["a"], expected["b"][1:] = str(expected["a"]), [str(each) for each in expected["b"][1:]]
        assert json.loads(text) == expected
        assert a == most == f"{2**64 - 1:,}"
        assert (half, nothing) == ("1.5", "–")
        assert failures == [each.name for each in Failure]
        asked, heard = await page.value(STREAM)
        assert asked == ["contract=a&from_height=3", "contract=a&from_height=5"]
        assert heard == [[4, 0], [5, 0], [5, 1], [6, 0]]

    explore(ProvingNode(), tmp_path, visit)


# -- pages ------------------------------------------------------------------------------------------------


class Deployed:
    """A node with contracts, and the ids of what was called on it."""

    def __init__(self) -> None:
        self.node = node = ProvingNode()
        node.state[SENDERS[5].public_key] = Account(0, RICHES)
        assert deploy(node, 0, "token", SUPPLY) == TOKEN
        assert deploy(node, 0, "counter") == COUNTER
        self.added = call(node, 1, "counter", COUNTER, "add", 5)
        self.refused = call(node, 1, "counter", COUNTER, "add", 5_000)
        self.exchange = deploy_source(node, 2, exchange_of(TOKEN))
        self.marked = deploy_source(node, 2, f"# {MARKUP}\n{example('counter')[1].decode()}")
        self.deployment = str(node.blocks[1].batch.ids()[0].tobytes().hex())


def test_contracts_in_a_browser(tmp_path: Path) -> None:
    deployed = Deployed()

    async def visit(page: Page, explored: Explored, pictures: Path) -> None:
        await a_contract_is_found(page)
        await its_cells_and_rows_are_read(page)
        await calls_are_tried(page, pictures)
        await its_events_arrive(page, explored)
        await an_entry_is_proven(page, explored)
        await what_others_wrote_is_text(page, deployed)
        await calls_are_decoded(page, deployed, pictures)
        await amounts_are_exact(page, explored)

    explore(deployed.node, tmp_path, visit)


async def go(page: Page, place: str, heading: str) -> None:
    await page.value(f"location.hash = '#/{place}'")
    await page.until(f"document.querySelector('h1')?.textContent === {heading!r}")


async def submit(page: Page, form: str, **fields: str) -> None:
    """Fill a form and send it off; its answer is new."""
    filled = "".join(
        f"form.querySelector('[name={json.dumps(name)}]').value = {json.dumps(value)};"
        for name, value in fields.items()
    )
    emptied = "form.querySelector('.answer').replaceChildren();"
    sent = f"{emptied} {filled} form.querySelector('button').click();"
    await page.value(f"(() => {{ const form = document.querySelector({form!r}); {sent} }})()")


async def answer(page: Page, form: str) -> str:
    place = f"document.querySelector({(form + ' .answer')!r})"
    return str(await page.until(f"{place}.textContent"))


def function(name: str) -> str:
    return f'details[data-function="{name}"]'


async def a_contract_is_found(page: Page) -> None:
    await page.type_and_enter("#query", TOKEN.hex())
    await page.until("document.querySelector('h1').textContent === 'Token'")
    await page.until("document.querySelector('#source [data-same=yes]') !== null")
    text = str(await page.value("document.querySelector('main').textContent"))
    assert f"node.py contract verify {TOKEN.hex()} FILE" in text
    assert ALICE.hex() in text
    source = await page.value("document.querySelector('#source pre').textContent")
    assert source.encode() == example("token")[1]
    shown = await page.value(f"document.querySelector('{function('transfer')}').textContent")
    assert "transfer(to: Address, amount: u64) → bool" in shown
    assert "entry · worst gas" in shown
    assert "static" in shown


async def its_cells_and_rows_are_read(page: Page) -> None:
    await page.until(f"document.querySelector('#cells').textContent.includes('{SUPPLY:,}')")
    form = 'form[data-table="balances"]'
    await submit(page, form, **{"key 1": ALICE.hex()})
    assert f"{SUPPLY:,}" in await answer(page, form)
    await submit(page, form, **{"key 1": BOB.hex()})
    assert "no such row" in await answer(page, form)
    await submit(page, form, **{"key 1": "12"})
    assert await answer(page, form) == "key 1: expected 64 hexadecimal digits"


async def calls_are_tried(page: Page, pictures: Path) -> None:
    transfer = function("transfer")
    await page.value(f"document.querySelector('{transfer}').open = true")
    given = {"argument.to": BOB.hex(), "argument.amount": str(SUPPLY), "sender": ALICE.hex()}
    await submit(page, transfer, **given)
    said = await answer(page, transfer)
    assert "It would go through" in said
    assert f"amount u64{SUPPLY:,}" in said
    assert "Fee to offer" in said
    assert await page.value(f"document.querySelectorAll('{transfer} a[href^=\"#/entry/\"]').length") == 2
    await page.screenshot(pictures / "contract-desktop.png", 1280, 800)
    await page.screenshot(pictures / "contract-phone-dark.png", 390, 844, dark=True)
    assert await page.value("document.documentElement.scrollWidth") <= 390
    await submit(page, transfer, **{**given, "argument.amount": str(SUPPLY + 1)})
    said = await answer(page, transfer)
    assert "a requirement did not hold: “more than the balance” (REQUIREMENT)" in said
    await submit(page, transfer, **{**given, "argument.amount": str(2**64)})
    assert await answer(page, transfer) == f"amount: expected an integer from 0 to {2**64 - 1}"
    await submit(page, transfer, **{**given, "sender": "ab" * 32})
    assert "as this sender: amount + fee exceeds" in await answer(page, transfer)
    view = function("balance_of")
    await submit(page, view, **{"argument.who": ALICE.hex()})
    said = await answer(page, view)
    assert "It answers" in said
    assert f"{SUPPLY:,}" in said


async def its_events_arrive(page: Page, explored: Explored) -> None:
    rows = "[...document.querySelectorAll('#contract-events tr')].map((row) => row.textContent)"
    await page.until(f"{rows}.length === 1")
    await until(lambda: len(explored.api.events.hub) >= 2)
    call(explored.node, 0, "token", TOKEN, "transfer", BOB, 2**62 + 1)
    explored.api.events.published(explored.node.delta(explored.node.height))
    await page.until(f"{rows}.length === 2")
    newest = (await page.value(rows))[0]
    assert "Transfer" in newest
    assert f"{2**62 + 1:,}" in newest
    await submit(page, "#follow", event="1", **{"from": "1"})
    await page.until(f"{rows}.length === 0")
    await submit(page, "#follow", event="0", first=BOB.hex(), **{"from": "1"})
    await submit(page, "#follow", event="0", first=ALICE.hex(), **{"from": "1"})
    await page.until(f"{rows}.length === 1")
    await submit(page, "#follow", event="", first=ALICE.hex())
    assert "choose an event" in await answer(page, "#follow")


ENTRY_CHECKS = """(async () => {
  const { checkEntry } = await import('/explorer/proof.js');
  const { read, readBytes } = await import('/explorer/api.js');
  const genesis = await readBytes('/v1/genesis'), outcomes = [];
  const check = async (key, wrong) => {
    const given = await read(`/v1/entries/${key}/proof`), changed = { ...given, ...wrong(given) };
    outcomes.push((await checkEntry(key, changed, genesis)).every((step) => step.passed));
  };
  const absent = 'KEY'.slice(0, 16) + '00'.repeat(24);
  await check('KEY', () => ({}));
  await check(absent, () => ({}));
  await check('KEY', () => ({ value: null }));
  await check(absent, () => ({ value: '01' }));
  await check('KEY', ({ value }) => ({ value: value + '00' }));
  await check('KEY', ({ siblings }) => ({ siblings: siblings.slice(1) }));
  await check('KEY', () => ({ leaf_path: '00'.repeat(32) }));
  await check('KEY', () => ({ leaf_path: null, leaf_value_hash: null }));
  await check('KEY', ({ height }) => ({ height: height - 1 }));
  await check('KEY', () => ({ key: absent }));
  await check('KEY', () => ({ signature: '00'.repeat(64) }));
  return outcomes.map(Number).join('');
})()"""


async def an_entry_is_proven(page: Page, explored: Explored) -> None:
    await page.value("document.querySelector('#cells a[href^=\"#/entry/\"]').click()")
    await page.until("document.querySelector('h1').textContent === 'Entry'")
    await page.value("document.querySelector('#check').click()")
    assert await page.until("document.querySelector('#proof').dataset.proven") == "true"
    assert await page.value("document.querySelectorAll('#proof li').length") == 3
    key = str(await page.value("location.hash.split('/')[2]"))
    assert explored.node.entries[bytes.fromhex(key)] == SUPPLY.to_bytes(8, "little")
    assert await page.value(ENTRY_CHECKS.replace("KEY", key)) == "11000000000"
    await go(page, f"contract/{TOKEN.hex()}", "Token")
    await page.value(
        "[...document.querySelectorAll('a')].find((each) => each.textContent === 'prove them').click()"
    )
    await page.until("document.querySelector('#check') !== null")
    await page.value("document.querySelector('#check').click()")
    assert await page.until("document.querySelector('#proof').dataset.proven") == "true"


async def what_others_wrote_is_text(page: Page, deployed: Deployed) -> None:
    await go(page, f"contract/{deployed.marked.hex()}", "Counter")
    await page.until("document.querySelector('#source [data-same=yes]') !== null")
    assert MARKUP in str(await page.value("document.querySelector('#source pre').textContent"))
    assert await page.value("document.querySelector('main img')") is None
    await go(page, f"contract/{deployed.exchange.hex()}", "Exchange")
    imported = f"document.querySelector('main a[href=\"#/contract/{TOKEN.hex()}\"]')"
    assert "Token" in str(await page.value(f"{imported}.textContent"))
    await page.until("document.querySelectorAll('#cells tbody tr').length === 3")
    await page.value("location.hash = '#/contract/" + "00" * 32 + "'")
    await page.until("document.querySelector('main .bad')?.textContent.includes('no contract')")


async def calls_are_decoded(page: Page, deployed: Deployed, pictures: Path) -> None:
    await page.type_and_enter("#query", deployed.added)
    await page.until("document.querySelector('#outcome') !== null")
    said = str(await page.value("document.querySelector('main').textContent"))
    for part in ("add(by: u64)", "by u645", "It went through.", "Fee paid", "Gas used", "Counted"):
        assert part in said
    await page.screenshot(pictures / "call-desktop.png", 1280, 800)
    await page.screenshot(pictures / "call-phone.png", 390, 844)
    assert await page.value("document.documentElement.scrollWidth") <= 390
    await page.value("document.querySelector('#check').click()")
    assert await page.until("document.querySelector('#proof').dataset.proven") == "true"
    await page.value(f"location.hash = '#/tx/{deployed.refused}'")
    await page.until("document.querySelector('#outcome.bad')?.textContent.includes('a step is 1 to 1000')")
    await page.value(f"location.hash = '#/tx/{deployed.deployment}'")
    await page.until("document.querySelector('#kind')?.textContent === 'deploy'")
    said = str(await page.value("document.querySelector('main').textContent"))
    assert f"{SUPPLY:,}" in said
    assert await page.value(f"document.querySelector('main a[href=\"#/contract/{TOKEN.hex()}\"]') !== null")
    await go(page, "block/4", "Block 4")
    row = "document.querySelector('main tbody tr').textContent"
    for part in ("call", "add(by: 5,000)", "a requirement did not hold"):
        assert part in str(await page.value(row))
    await page.screenshot(pictures / "block-of-calls-desktop.png", 1280, 800)


async def amounts_are_exact(page: Page, explored: Explored) -> None:
    node, key = explored.node, SENDERS[5].public_key
    await go(page, f"account/{key.hex()}", "Account")
    await page.until(f"document.querySelector('#balance').textContent === '{RICHES:,}'")
    await until(lambda: len(explored.api.events.hub) >= 2)
    node.shards[0].pending = [node.transfer(5, 0, amount=2**59 + 1)]
    explored.api.events.published(node.delta(node.commit().header.height))
    left = node.state[key].balance
    assert left > 2**53
    assert left % 2
    await page.until(f"document.querySelector('#balance').textContent === '{left:,}'")
    assert f"{2**59 + 1:,}" in str(await page.value("document.querySelector('#events').textContent"))
    await page.value("document.querySelector('#events a').click()")
    await page.until(f"document.querySelector('main').textContent.includes('Amount{2**59 + 1:,}')")
    await go(page, f"account/{TOKEN.hex()}", "Account")
    await page.until("document.querySelector('main a[href^=\"#/contract/\"]') !== null")
