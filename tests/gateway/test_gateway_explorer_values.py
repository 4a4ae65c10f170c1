"""The explorer's own JavaScript against Python: values to the last digit, and streams that are resumed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from actors.contracts.failures import Failure
from actors.contracts.ir import Named, Shape
from actors.contracts.json_values import slots_to_json, type_text
from actors.contracts.limits import BYTES_MAX
from actors.contracts.slots import SlotLayout
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U8, U64, U128, Slot, Type, Value, bytes_type
from tests.gateway.browser import Page
from tests.gateway.gateway_proving_node import ProvingNode
from tests.gateway.test_gateway_explorer import Explored
from tests.gateway.test_gateway_explorer_contracts import explore

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
