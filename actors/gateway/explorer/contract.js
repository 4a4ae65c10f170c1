// The page of a contract, and that of an entry with its proof.
import { contractAt, found, read, readBytes } from "./api.js";
import { field, form, functionCard } from "./contract_forms.js";
import { bad, card, cells, code, contractLink, el, facts, link, soft, table, valueNode, view } from "./dom.js";
import { bytesOf, checkEntry, hex, sha256 } from "./proof.js";
import { proofCard } from "./proof_card.js";
import { follow } from "./stream.js";
import { eventOf } from "./transactions.js";
import { encode, expected, fromJson, fromText, many } from "./values.js";

const EVENTS_SHOWN = 100, BLOCKS_BACK = 1000;
// As in actors/ledger/contract_state.py: the head is chunk 0 of the table 255.
const ENTRY_TAG = "656e747279000000", HEAD_PLACE = "ff00", ENTRY_KEY_CHARS = 64;

export async function contractPage(address) {
  const contract = await contractAt(address);
  if (!contract) throw new Error("There is no contract at this address: check it, or wait for its deployment to commit.");
  const labels = new Map(), events = eventsCard(contract);
  const callable = contract.functions.map((called) => functionCard(contract, called, labels));
  view.replaceChildren(
    el("h1", {}, contract.name), await aboutCard(contract), sourceCard(contract),
    card("Functions", soft("Each form tries a call at the newest height and sends nothing; ", code(`node.py contract call ${contract.address}`), " sends one."), ...callable),
    cellsCard(contract, labels), ...rowCards(contract), events.node,
  );
  return events.close;
}

// -- what it is -------------------------------------------------------------------------------------------

async function aboutCard(contract) {
  const [block, account, head] = await Promise.all([
    found(`/v1/blocks/${contract.deployed_height}?limit=0`).catch(() => null), read(`/v1/accounts/${contract.address}`).catch(() => null), headKey(contract).catch(() => null),
  ]);
  const time = block ? `, ${new Date(Number(block.header.time_ms)).toLocaleString()}` : "";
  const imports = contract.imports.map((each) => el("div", {}, contractLink(each.address, each.contract), ` ${each.function}`));
  return card("", facts([
    ["Address", code(contract.address)], ["Deployed by", link(`#/account/${contract.deployer}`, code(contract.deployer))],
    ["Deployed in", el("span", {}, link(`#/block/${contract.deployed_height}`, `block ${many(contract.deployed_height)}`), time)],
    ["Coins", account ? many(account.balance) : "–"], ["Program hash", code(contract.program_hash)], ["Source hash", code(contract.source_hash)],
    ...(head ? [["Both in the state", link(`#/entry/${head}`, "prove them")]] : []),
    ...(imports.length ? [["Calls", el("div", {}, ...imports)]] : []),
  ]));
}

async function headKey(contract) {
  // Of the entry that holds both hashes.
  return (ENTRY_TAG + hex(await sha256(bytesOf(contract.address + HEAD_PLACE)))).slice(0, ENTRY_KEY_CHARS);
}

function sourceCard(contract) {
  const outcome = el("div", { id: "source" }), node = card("Source", outcome);
  const show = async () => {
    const said = await found(`/v1/contracts/${contract.address}/source`).catch((error) => ({ failed: error.message }));
    if (!said || said.failed) {
      outcome.replaceChildren(bad(said?.failed ?? "This gateway does not have the source: its deployment's block is kept no more. Ask a node that keeps all."));
      return;
    }
    outcome.replaceChildren(
      await sourceVerdict(contract, said.source), el("p", {}, "It came with ", link(`#/tx/${said.transaction}`, "its deployment"), "."),
      el("details", {}, el("summary", {}, "Show the source"), el("pre", {}, el("code", {}, said.source))),
    );
  };
  show().catch((error) => outcome.replaceChildren(bad(error.message)));
  return node;
}

async function sourceVerdict(contract, source) {
  const further = [" That the program is compiled from it is checked by ", code(`node.py contract verify ${contract.address} FILE`), "."];
  if (!globalThis.crypto?.subtle) return el("p", {}, "To compare its hash, open this page by https or on localhost.", ...further);
  const same = hex(await sha256(new TextEncoder().encode(source))) === contract.source_hash;
  return same
    ? el("p", { "data-same": "yes" }, el("strong", { class: "good" }, "The source is the one that was deployed:"), " its SHA-256 is the hash that the state has.", ...further)
    : bad("This is not the source that was deployed: its SHA-256 is not the hash that the state has.");
}

// -- what it keeps ----------------------------------------------------------------------------------------

const tablePath = (contract, kept) => `/v1/contracts/${contract.address}/tables/${kept.number}`;
const proofLinks = (row, start = "prove") => el("span", {}, ...row.entries.flatMap(({ key }, i) => [
  i ? " " : "", link(`#/entry/${key}/${row.height}`, row.entries.length > 1 ? `${start} part ${i + 1}` : start),
]));
const columnsOf = (kept, row) => kept.columns.map(({ name, type }) => ({ name, type, value: fromJson(type, row.row[name]) }));

function cellsCard(contract, labels) {
  const kept = contract.tables.filter((each) => !each.keys.length), body = el("div", { id: "cells" }), node = card("Cells");
  if (!kept.length) { node.append(soft("It has none.")); return node; }
  const again = el("button", { type: "button" }, "Read again");
  const show = async () => {
    // All at the height of the first one, which is thus of one state.
    const first = await read(tablePath(contract, kept[0]));
    const rows = [first, ...(await Promise.all(kept.slice(1).map((each) => read(`${tablePath(contract, each)}?height=${first.height}`))))];
    const lines = kept.flatMap((each, i) => {
      rows[i].entries.forEach(({ key }) => labels.set(key, each.name));
      return columnsOf(each, rows[i]).map(({ name, type, value }, at) => cells(
        [name === "value" && each.columns.length === 1 ? each.name : `${each.name}.${name}`, type, valueNode(type, value), at ? "" : proofLinks(rows[i])], ["", "soft", "long", ""],
      ));
    });
    body.replaceChildren(table([["Cell"], ["Type"], ["Value"], [""]], lines), soft(`At height ${many(first.height)}. Cells that were never written are zero.`));
  };
  const reading = () => show().catch((error) => body.replaceChildren(bad(error.message)));
  again.addEventListener("click", reading);
  reading();
  node.append(body, again);
  return node;
}

function rowCards(contract) {
  return contract.tables.filter((each) => each.keys.length).map((kept) => {
    const keys = kept.keys.map((type, i) => field(`key ${i + 1}`, type, expected(type)));
    const columns = kept.columns.map(({ name, type }) => (name === "value" ? type : `${name}: ${type}`)).join(", ");
    const reading = form(keys, "Read the row", async (answer) => {
      const query = kept.keys.map((type, i) => `key=${encodeURIComponent(String(fromText(type, keys[i].input.value, `key ${i + 1}`)))}`);
      const row = await read(`${tablePath(contract, kept)}?${query.join("&")}`);
      answer.replaceChildren(
        facts([...columnsOf(kept, row).map(({ name, type, value }) => [el("span", {}, name, " ", el("small", {}, type)), valueNode(type, value)]), ["Proof", proofLinks(row, "prove it")]]),
        soft(row.exists ? `At height ${many(row.height)}.` : `There is no such row at height ${many(row.height)}: all of it is zero.`),
      );
    });
    reading.dataset.table = kept.name;
    return card(`Table ${kept.name}`, el("p", {}, code(`${kept.name}[${kept.keys.join(", ")}] → ${columns}`)), reading);
  });
}

// -- what it tells ----------------------------------------------------------------------------------------

function eventsCard(contract) {
  const body = el("tbody", { id: "contract-events" }), note = el("p", { class: "soft", role: "status" });
  const kind = el("select", { name: "event" }, el("option", { value: "" }, "all"), ...contract.events.map((each) => el("option", { value: each.number }, each.name)));
  const first = el("input", { name: "first", autocomplete: "off", placeholder: "of one event: value of its first field" });
  const from = el("input", { name: "from", inputmode: "numeric", autocomplete: "off", value: String(Math.max(contract.deployed_height, contract.height - BLOCKS_BACK)) });
  let stream = { close: () => {} };
  const label = (text, node) => ({ node: el("label", { class: "field" }, el("span", {}, text), node) });
  const asking = form([label("Event", kind), label("First field", first), label("From height", from)], "Follow", async () => {
    const topic = topicOf(contract, kind.value, first.value.trim()), height = from.value.trim();
    if (!/^\d{1,15}$/.test(height)) throw new Error("From height: expected a number.");
    stream.close();
    body.replaceChildren();
    note.textContent = "";
    stream = follow(`contract=${topic}`, (event) => told(contract, event, body, note), {
      from: Number(height), state: (open, reason) => { if (reason) note.textContent = reason; },
    });
  });
  const node = card("Events", asking, el("div", { class: "scroll" }, el("table", {}, body)), note);
  asking.id = "follow";
  stream = follow(`contract=${contract.address}`, (event) => told(contract, event, body, note), { from: Number(from.value) });
  return { node, close: () => stream.close() };
}

function topicOf(contract, number, first) {
  // As actors/gateway/contract_topics.py has it.
  if (number === "" && first) throw new Error("First field: choose an event, whose first field it is.");
  if (number === "") return contract.address;
  const [begins] = contract.events[Number(number)].fields;
  if (!first) return `${contract.address}.${number}`;
  if (!begins) throw new Error("First field: this event has no fields.");
  return `${contract.address}.${number}.${encode(begins.type, fromText(begins.type, first, "First field"))}`;
}

function told(contract, event, body, note) {
  if (event.type === "lagged") note.textContent = `Blocks ${many(event.from_height)} to ${many(event.to_height)} were left out: this node does not have them any more, or the page was too slow.`;
  if (event.type !== "event") return;
  const said = eventOf(contract, event);
  body.prepend(cells([link(`#/block/${event.height}`, many(event.height)), link(`#/tx/${event.transaction}`, code(event.transaction.slice(0, 10))), said.name, said.fields], ["", "", "", "long"]));
  while (body.rows.length > EVENTS_SHOWN) body.lastChild.remove();
}

// -- an entry ---------------------------------------------------------------------------------------------

export async function entryPage(key, height) {
  const path = `/v1/entries/${encodeURIComponent(key)}/proof${height ? `?height=${encodeURIComponent(height)}` : ""}`;
  const proof = await read(path);
  view.replaceChildren(
    el("h1", {}, "Entry"),
    card("", facts([
      ["Key", code(proof.key)], ["Value", proof.value ? code(proof.value) : "none: it reads as zeros"],
      ["In the state after", proof.height ? link(`#/block/${proof.height}`, `block ${many(proof.height)}`) : "the genesis"], ["Proof", link(path, "as JSON")],
    ])),
    proofCard(async () => checkEntry(key, proof, await readBytes("/v1/genesis")), "Proven: the state of a final block of the network whose genesis this gateway serves has this. `node.py contract state` judges it by a genesis that you trust."),
  );
}
