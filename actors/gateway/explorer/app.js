// The explorer: pages by the fragment of the address, everything read from this node's own API and event stream.
import { contractAt, found, read } from "./api.js";
import { contractPage, entryPage } from "./contract.js";
import { bad, card, cells, clock, code, contractLink, el, facts, link, put, short, svg, table, tile, view } from "./dom.js";
import { follow } from "./stream.js";
import { blockPage, transactionPage } from "./transactions.js";
import { many } from "./values.js";

const ROWS_SHOWN = 25, CHART_SECONDS = 60, POLL_MS = 2000;
const live = document.querySelector("#live");
const recent = [];
let leave = () => {};

// -- pages ------------------------------------------------------------------------------------------------

async function blocksPage() {
  view.replaceChildren(
    el("h1", {}, "Blocks"),
    el("div", { class: "tiles" }, tile("Height", "height"), tile("Transactions a second", "tps"), tile("Pending", "pending"), tile("Validators", "validators")),
    el("section", { class: "card", "aria-label": "Transactions a second in the last minute" }, el("h2", {}, "Transactions a second"), el("div", { id: "chart" })),
    card("", table([["Height"], ["Time"], ["Transactions", "number"], ["Hash", "wide"]], [], "blocks")),
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
    [link(`#/block/${block.height}`, many(block.height)), clock(block.time_ms), many(block.transactions), code(short(block.hash))],
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

async function accountPage(key) {
  const account = await read(`/v1/accounts/${encodeURIComponent(key)}`), events = el("tbody", { id: "events" }), about = el("p", {});
  view.replaceChildren(
    el("h1", {}, "Account"),
    el("div", { class: "tiles" }, tile("Balance", "balance"), tile("Next nonce", "nonce"), tile("At height", "at")),
    card("", facts([["Key", code(account.key)]]), about),
    card("Transactions from now on", el("div", { class: "scroll" }, el("table", {}, events))),
  );
  contractAt(account.key).then((contract) => { if (contract) about.replaceChildren("It is the account of a contract: ", contractLink(account.key, contract.name)); }).catch(() => {});
  const show = (state) => { put("balance", many(state.balance)); put("nonce", many(state.nonce)); put("at", many(state.height)); };
  show(account);
  const stream = follow(`key=${account.key}&account=${account.key}`, (event) => {
    if (event.type === "state") show(event);
    if (event.type === "transaction") {
      events.prepend(cells([link(`#/tx/${event.id}`, code(short(event.id))), event.sender === account.key ? "out" : "in", many(event.amount)], ["", "", "number"]));
      while (events.rows.length > ROWS_SHOWN) events.lastChild.remove();
    }
  });
  return stream.close;
}

const looks = []; // of the node page: when, validators, transactions so far

async function nodePage() {
  view.replaceChildren(
    el("h1", {}, "Node"),
    card("Actors", table([["Actor"], ["CPU", "number"], ["", "wide"], ["Memory MB", "number"], ["Queue", "number"], ["Up s", "number"]], [], "actors")),
    card("Microseconds a transaction", el("div", { id: "stages" })),
    card("Validators", el("div", { id: "scaling" }), el("div", { id: "workers" })),
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
  const rows = peers.map((peer) => cells([code(short(String(peer.identity ?? ""))), String(peer.address ?? "–"), peer.member ? "member" : "observer", String(peer.state ?? "–"), many(peer.rtt_ms)], ["wide", "", "", "", "number"]));
  view.replaceChildren(
    el("h1", {}, "Peers"),
    card("", graph, el("p", { class: "soft" }, peers.length ? `${peers.length} known` : "No other node is known: this network has one node.")),
    card("", table([["Identity", "wide"], ["Address"], ["Kind"], ["State"], ["ms", "number"]], rows)),
  );
}

async function search(text) {
  const wanted = text.trim().toLowerCase();
  if (/^\d{1,18}$/.test(wanted)) { location.hash = `#/block/${wanted}`; return; }
  if (!/^[0-9a-f]{64}$/.test(wanted)) throw new Error("Search for a height, or for 64 hexadecimal digits.");
  if (await found(`/v1/transactions/${wanted}`)) location.hash = `#/tx/${wanted}`;
  else location.hash = (await contractAt(wanted)) ? `#/contract/${wanted}` : `#/account/${wanted}`;
}

// -- events and navigation --------------------------------------------------------------------------------

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

const PAGES = { "": blocksPage, block: blockPage, tx: transactionPage, account: accountPage, contract: contractPage, entry: entryPage, node: nodePage, peers: peersPage };

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
    view.replaceChildren(el("h1", {}, "Not found"), bad(error.message));
  }
}

document.querySelector("#search").addEventListener("submit", async (event) => {
  event.preventDefault();
  try { await search(event.target.query.value); }
  catch (error) { view.replaceChildren(el("h1", {}, "Search"), bad(error.message)); }
});
window.addEventListener("hashchange", () => { show(); view.focus({ preventScroll: true }); });
read("/v1/status").then((status) => put("network", status.network)).catch(() => {});
follow("topic=blocks", onBlock, { state: (on) => { live.className = on ? "on" : "off"; live.textContent = on ? "live" : "reconnecting"; } });
show();
