// The explorer: pages by the fragment of the address, everything read from this node's own API and event stream.
// Text of the chain enters the page as text nodes alone, never as markup.
import { read, readBytes } from "./api.js";
import { checkProof } from "./proof.js";

const ROWS_SHOWN = 25, CHART_SECONDS = 60, POLL_MS = 2000;
const view = document.querySelector("#view"), live = document.querySelector("#live");
const recent = [];
let leave = () => {};

// -- building blocks --------------------------------------------------------------------------------------

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return node;
}
function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const link = (href, text) => el("a", { href }, text);
const short = (text) => (text.length > 20 ? `${text.slice(0, 10)}…${text.slice(-6)}` : text);
const many = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en"));
const clock = (ms) => new Date(Number(ms)).toLocaleTimeString();
const facts = (pairs) => el("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
const tile = (name, id) => el("dl", { class: "tile" }, el("dt", {}, name), el("dd", { id }, "–"));
function table(heads, rows, id) {
  const head = el("tr", {}, ...heads.map(([name, kind]) => el("th", { class: kind ?? "", scope: "col" }, name)));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", id ? { id } : {}, ...rows)));
}
const cells = (values, kinds = []) => el("tr", {}, ...values.map((value, i) => el("td", { class: kinds[i] ?? "" }, value)));

// -- pages ------------------------------------------------------------------------------------------------

async function blocksPage() {
  view.replaceChildren(
    el("h1", {}, "Blocks"),
    el("div", { class: "tiles" }, tile("Height", "height"), tile("Transactions a second", "tps"), tile("Pending", "pending"), tile("Validators", "validators")),
    el("section", { class: "card", "aria-label": "Transactions a second in the last minute" }, el("h2", {}, "Transactions a second"), el("div", { id: "chart" })),
    el("section", { class: "card" }, table([["Height"], ["Time"], ["Transactions", "number"], ["Hash", "wide"]], [], "blocks")),
  );
  const page = await read(`/v1/blocks?limit=${ROWS_SHOWN}`);
  for (const header of [...page.blocks].reverse()) remember({ ...header, transactions: header.transaction_count });
  document.querySelector("#blocks").replaceChildren(...[...recent].reverse().slice(0, ROWS_SHOWN).map(blockRow));
  await figures();
  drawChart();
  const polls = [setInterval(figures, POLL_MS), setInterval(drawChart, 1000)];
  return () => polls.forEach(clearInterval);
}

function blockRow(block) {
  return cells(
    [link(`#/block/${block.height}`, many(block.height)), clock(block.time_ms), many(block.transactions), el("code", {}, short(block.hash))],
    ["", "", "number", "wide"],
  );
}

function remember(block) {
  if (recent.some((known) => known.height === block.height)) return;
  recent.push(block);
  recent.sort((one, other) => one.height - other.height);
  while (recent.length > 2000) recent.shift();
}

async function figures() {
  try {
    const [mempool, validators] = await Promise.all([read("/v1/mempool"), read("/v1/validators")]);
    put("pending", many(mempool.depth));
    put("validators", many(validators.validators));
  } catch (error) { put("pending", "–"); }
}
function put(id, text) {
  const node = document.getElementById(id);
  if (node) node.textContent = text;
}

function drawChart() {
  const box = document.querySelector("#chart");
  if (!box) return;
  const now = Math.floor(Date.now() / 1000), sums = new Array(CHART_SECONDS).fill(0);
  for (const block of recent) {
    const at = CHART_SECONDS - 1 - (now - Math.floor(block.time_ms / 1000));
    if (at >= 0 && at < CHART_SECONDS) sums[at] += block.transactions;
  }
  const peak = Math.max(1, ...sums), width = 600, height = 120;
  const points = sums.map((sum, i) => `${(i * width) / (CHART_SECONDS - 1)},${height - (sum / peak) * (height - 10)}`);
  const shape = svg("polygon", { class: "area", points: `0,${height} ${points.join(" ")} ${width},${height}` });
  const label = `last minute, at most ${many(peak)} a second`;
  box.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "none", style: "height:120px" }, shape), el("p", { class: "soft" }, label));
  put("tps", many(Math.round(sums.slice(-11, -1).reduce((a, b) => a + b, 0) / 10)));
  if (recent.length) put("height", many(recent.at(-1).height));
}

async function blockPage(height, before) {
  const offset = Number(before) || 0;
  const block = await read(`/v1/blocks/${encodeURIComponent(height)}?offset=${offset}&limit=${ROWS_SHOWN}`);
  const header = block.header, count = Number(header.transaction_count), at = Number(header.height);
  const rows = block.transactions.map((tx) => cells(
    [link(`#/tx/${tx.id}`, el("code", {}, short(tx.id))), link(`#/account/${tx.sender}`, short(tx.sender)), link(`#/account/${tx.recipient}`, short(tx.recipient)), many(tx.amount)],
    ["", "wide", "", "number"],
  ));
  const pages = el("p", {});
  if (offset > 0) pages.append(link(`#/block/${at}/${Math.max(0, offset - ROWS_SHOWN)}`, "← earlier "));
  pages.append(`${many(Math.min(offset + 1, count))}–${many(Math.min(offset + ROWS_SHOWN, count))} of ${many(count)}`);
  if (offset + ROWS_SHOWN < count) pages.append(link(`#/block/${at}/${offset + ROWS_SHOWN}`, " later →"));
  view.replaceChildren(
    el("h1", {}, `Block ${many(at)}`),
    el("section", { class: "card" }, facts([
      ["Time (its proposer's clock, never before the parent's)", new Date(Number(header.time_ms)).toLocaleString()], ["Transactions", many(count)], ["Hash", el("code", {}, header.hash)],
      ["Parent", at > 1 ? link(`#/block/${at - 1}`, el("code", {}, header.parent_hash)) : el("code", {}, header.parent_hash)],
      ["Transaction root", el("code", {}, header.transaction_root)], ["State root", el("code", {}, header.state_root)],
      ["Proposer", el("code", {}, header.proposer)], ["Term", many(header.term)],
    ])),
    el("section", { class: "card" }, el("h2", {}, "Transactions"), table([["Id"], ["From", "wide"], ["To"], ["Amount", "number"]], rows), pages),
  );
}

async function transactionPage(id) {
  const tx = await read(`/v1/transactions/${encodeURIComponent(id)}`);
  const button = el("button", { id: "check", type: "button" }, "Check the proof in this browser"), outcome = el("div", { id: "proof", role: "status" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const [proof, genesis] = await Promise.all([read(`/v1/transactions/${tx.id}/proof`), readBytes("/v1/genesis")]);
      const steps = await checkProof(tx, proof, genesis), proven = steps.every((step) => step.passed);
      outcome.dataset.proven = proven;
      outcome.replaceChildren(
        el("p", { class: proven ? "good" : "bad" }, proven ? "Proven: this transaction is in a final block of the network whose genesis this gateway serves. `node.py tx` judges it by a genesis that you trust." : "Not proven."),
        el("ol", { class: "checks" }, ...steps.map((step) => el("li", {}, el("strong", { class: step.passed ? "good" : "bad" }, step.passed ? "✓ " : "✗ "), step.name, el("br"), el("span", { class: "soft" }, step.detail)))),
      );
    } catch (error) { outcome.replaceChildren(el("p", { class: "bad" }, error.message)); }
    button.disabled = false;
  });
  view.replaceChildren(
    el("h1", {}, "Transaction"),
    el("section", { class: "card" }, facts([
      ["Id", el("code", {}, tx.id)], ["Block", link(`#/block/${tx.height}`, `${many(tx.height)}, position ${many(tx.position)}`)],
      ["From", link(`#/account/${tx.sender}`, el("code", {}, tx.sender))], ["To", link(`#/account/${tx.recipient}`, el("code", {}, tx.recipient))],
      ["Amount", many(tx.amount)], ["Fee", many(tx.fee)], ["Nonce", many(tx.nonce)], ["Payload", tx.payload ? el("code", {}, tx.payload) : "none"],
      ["Sender's balance after", many(tx.receipt?.sender_balance)],
    ])),
    el("section", { class: "card" }, el("h2", {}, "Proof"), button, outcome),
  );
}

async function accountPage(key) {
  const account = await read(`/v1/accounts/${encodeURIComponent(key)}`), events = el("tbody", { id: "events" });
  view.replaceChildren(
    el("h1", {}, "Account"),
    el("div", { class: "tiles" }, tile("Balance", "balance"), tile("Next nonce", "nonce"), tile("At height", "at")),
    el("section", { class: "card" }, facts([["Key", el("code", {}, account.key)]])),
    el("section", { class: "card" }, el("h2", {}, "Transactions from now on"), el("div", { class: "scroll" }, el("table", {}, events))),
  );
  const show = (state) => { put("balance", many(state.balance)); put("nonce", many(state.nonce)); put("at", many(state.height)); };
  show(account);
  const stream = follow(`key=${account.key}&account=${account.key}`, (event) => {
    if (event.type === "state") show(event);
    if (event.type === "transaction") {
      events.prepend(cells([link(`#/tx/${event.id}`, el("code", {}, short(event.id))), event.sender === account.key ? "out" : "in", many(event.amount)], ["", "", "number"]));
      while (events.rows.length > ROWS_SHOWN) events.lastChild.remove();
    }
  });
  return stream.close;
}

const looks = []; // of the node page: when, validators, transactions so far

async function nodePage() {
  view.replaceChildren(
    el("h1", {}, "Node"),
    el("section", { class: "card" }, el("h2", {}, "Actors"), table([["Actor"], ["CPU", "number"], ["", "wide"], ["Memory MB", "number"], ["Queue", "number"], ["Up s", "number"]], [], "actors")),
    el("section", { class: "card" }, el("h2", {}, "Microseconds a transaction"), el("div", { id: "stages" })),
    el("section", { class: "card" }, el("h2", {}, "Validators"), el("div", { id: "scaling" }), el("div", { id: "workers" })),
  );
  let before = {};
  const show = async () => {
    const [{ actors }, status, workers] = await Promise.all([read("/v1/actors"), read("/v1/status"), read("/v1/validators")]);
    const body = document.querySelector("#actors");
    if (!body) return;
    const now = performance.now() / 1000, seen = {};
    body.replaceChildren(...Object.entries(actors).sort().map(([name, health]) => {
      if (!health) return cells([name, el("span", { class: "bad" }, "away"), "", "", "", ""], ["", "number", "wide"]);
      seen[name] = { cpu: health.cpu_s, at: now };
      const last = before[name], share = last && health.cpu_s >= last.cpu ? (100 * (health.cpu_s - last.cpu)) / Math.max(now - last.at, 0.001) : null;
      return cells(
        [name, share === null ? "–" : `${share.toFixed(0)} %`, meter(share ?? 0), many(health.rss_mb), many(health.depth ?? health.inflight ?? health.connections ?? 0), many(health.uptime_s)],
        ["", "number", "wide", "number", "number", "number"],
      );
    }));
    before = seen;
    document.querySelector("#stages").replaceChildren(bars(Object.entries(status.node.stages_us_per_tx ?? {})));
    looks.push({ at: now, validators: Number(workers.validators), transactions: Number(status.node.transactions ?? 0) });
    while (looks.length > CHART_SECONDS) looks.shift();
    document.querySelector("#scaling").replaceChildren(...scaling(looks));
    document.querySelector("#workers").replaceChildren(facts([["Workers", many(workers.validators)], ...Object.entries(workers.pool).map(([name, value]) => [name.replaceAll("_", " "), many(value)])]));
  };
  await show();
  const poll = setInterval(() => show().catch(() => {}), POLL_MS);
  return () => clearInterval(poll);
}

const meter = (percent) => svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", style: "width:6rem;height:.6rem", "aria-hidden": "true" }, svg("rect", { class: "rest", width: 100, height: 8 }), svg("rect", { class: "bar", width: Math.min(100, percent), height: 8 }));

function scaling(points) {
  // Transactions a second between two looks as an area, the number of Validators at them as a stepped line.
  if (points.length < 2) return [el("p", { class: "soft" }, "collecting …")];
  const width = 600, height = 100, rates = points.slice(1).map((point, i) => Math.max(0, (point.transactions - points[i].transactions) / Math.max(point.at - points[i].at, 0.001)));
  const peak = Math.max(1, ...rates), most = Math.max(1, ...points.map((point) => point.validators)), x = (i) => (i * width) / rates.length;
  const area = rates.map((rate, i) => `${x(i)},${height - (rate / peak) * (height - 10)} ${x(i + 1)},${height - (rate / peak) * (height - 10)}`);
  const line = points.map((point, i) => `${x(Math.max(0, i - 1))},${height - (point.validators / most) * (height - 6)} ${x(i)},${height - (point.validators / most) * (height - 6)}`);
  const label = `at most ${many(Math.round(peak))} transactions a second (area), at most ${most} validators (line)`;
  return [
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "none", style: "height:100px" }, svg("polygon", { class: "area", points: `0,${height} ${area.join(" ")} ${width},${height}` }), svg("polyline", { class: "steps", points: line.join(" ") })),
    el("p", { class: "soft" }, label),
  ];
}

function bars(entries) {
  const peak = Math.max(1e-9, ...entries.map(([, value]) => Number(value)));
  return table([["Stage"], ["µs", "number"], [""]], entries.map(([name, value]) => cells(
    [name, Number(value).toFixed(2), svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", style: "width:10rem;height:.6rem" }, svg("rect", { class: "bar", width: (100 * value) / peak, height: 8 }))],
    ["", "number", ""],
  )));
}

async function peersPage() {
  const { peers } = await read("/v1/peers"), width = 600, height = 260, cx = width / 2, cy = height / 2;
  const graph = svg("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `this node and ${peers.length} peers` });
  peers.forEach((peer, i) => {
    const angle = (2 * Math.PI * i) / peers.length - Math.PI / 2, x = cx + 200 * Math.cos(angle), y = cy - 8 + 90 * Math.sin(angle);
    const name = svg("text", { x, y: y + 24 }), connected = peer.state === "active" || peer.state === "idle";
    name.textContent = String(peer.identity ?? peer.address ?? "").slice(0, 8);
    graph.append(svg("line", { class: connected ? "edge" : "edge lost", x1: cx, y1: cy - 8, x2: x, y2: y }), svg("circle", { class: connected ? "peer" : "away", cx: x, cy: y, r: peer.member ? 10 : 7 }), name);
  });
  graph.append(svg("circle", { class: "self", cx, cy: cy - 8, r: 12 }));
  const rows = peers.map((peer) => cells([el("code", {}, short(String(peer.identity ?? ""))), String(peer.address ?? "–"), peer.member ? "member" : "observer", String(peer.state ?? "–"), many(peer.rtt_ms)], ["wide", "", "", "", "number"]));
  view.replaceChildren(
    el("h1", {}, "Peers"),
    el("section", { class: "card" }, graph, el("p", { class: "soft" }, peers.length ? `${peers.length} known` : "No other node is known: this network has one node.")),
    el("section", { class: "card" }, table([["Identity", "wide"], ["Address"], ["Kind"], ["State"], ["ms", "number"]], rows)),
  );
}

async function search(text) {
  const wanted = text.trim().toLowerCase();
  if (/^\d{1,18}$/.test(wanted)) { location.hash = `#/block/${wanted}`; return; }
  if (!/^[0-9a-f]{64}$/.test(wanted)) throw new Error("Search for a height, or for 64 hexadecimal digits.");
  const found = await fetch(`/v1/transactions/${wanted}`);
  location.hash = found.ok ? `#/tx/${wanted}` : `#/account/${wanted}`;
}

// -- events and navigation --------------------------------------------------------------------------------

function follow(query, on, state = () => {}) {
  let socket, closed = false, pause = 500, last = 0;
  const open = () => {
    const resume = last ? `&from_height=${last + 1}` : "";
    socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/v1/events?${query}${resume}`);
    socket.onopen = () => { pause = 500; state(true); };
    socket.onmessage = (message) => { const event = JSON.parse(message.data); last = Math.max(last, event.height); on(event); };
    socket.onclose = () => { state(false); if (!closed) setTimeout(open, (pause = Math.min(2 * pause, 10000))); };
  };
  open();
  return { close: () => { closed = true; socket.close(); } };
}

function onBlock(event) {
  if (event.type !== "block") return;
  remember(event);
  const body = document.querySelector("#blocks");
  if (!body) return;
  const row = blockRow(event);
  row.className = "new";
  body.prepend(row);
  while (body.rows.length > ROWS_SHOWN) body.lastChild.remove();
  put("height", many(event.height));
}

const PAGES = { "": blocksPage, block: blockPage, tx: transactionPage, account: accountPage, node: nodePage, peers: peersPage };

async function show() {
  leave();
  leave = () => {};
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  for (const item of document.querySelectorAll("nav a")) item.toggleAttribute("aria-current", item.hash === `#/${name}`);
  try {
    if (!Object.hasOwn(PAGES, name)) throw new Error("There is no such page.");
    const began = location.hash, stop = (await PAGES[name](...rest.map(decodeURIComponent))) ?? (() => {});
    if (location.hash === began) leave = stop; else stop();
  } catch (error) {
    view.replaceChildren(el("h1", {}, "Not found"), el("p", { class: "bad" }, error.message));
  }
}

document.querySelector("#search").addEventListener("submit", async (event) => {
  event.preventDefault();
  try { await search(event.target.query.value); }
  catch (error) { view.replaceChildren(el("h1", {}, "Search"), el("p", { class: "bad" }, error.message)); }
});
window.addEventListener("hashchange", () => { show(); view.focus({ preventScroll: true }); });
read("/v1/status").then((status) => put("network", status.network)).catch(() => {});
follow("topic=blocks", onBlock, (on) => { live.className = on ? "on" : "off"; live.textContent = on ? "live" : "reconnecting"; });
show();
