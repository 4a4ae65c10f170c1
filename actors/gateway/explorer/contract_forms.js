// Forms made of types, and what a call that is only tried would do.
import { post } from "./api.js";
import { bad, cells, code, el, facts, link, parametersText, table, valueFacts } from "./dom.js";
import { eventsTable } from "./transactions.js";
import { decoded, expected, failureWords, fromText, many, toJson, typeOf } from "./values.js";

export function field(label, type, hint, name = label) {
  // A labelled input for a value of a type.
  const input = typeOf(type).kind === "bool" && !typeOf(type).count
    ? el("select", { name }, el("option", {}, "false"), el("option", {}, "true"))
    : el("input", { name, autocomplete: "off", spellcheck: "false", placeholder: hint });
  return { node: el("label", { class: "field" }, el("span", {}, label, " ", el("small", {}, type)), input), input };
}

export function form(fields, verb, submitted) {
  // submitted: called with the answer's place; what it throws is shown there.
  const answer = el("div", { class: "answer", role: "status" }), button = el("button", {}, verb);
  const node = el("form", {}, ...fields.map((each) => each.node), button, answer);
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try { await submitted(answer); }
    catch (error) { answer.replaceChildren(bad(error.message)); }
    button.disabled = false;
  });
  return node;
}

export function functionCard(contract, called, labels) {
  // A function: what it takes, gives and costs, and a form to try it. labels: what entries are, by their keys.
  const results = called.results.map((each) => (called.results.length > 1 ? `${each.name}: ${each.type}` : each.type)).join(", ");
  const head = el("summary", {}, el("code", {}, `${called.name}(${parametersText(called.params)})${results ? ` → ${results}` : ""}`), el("br"), el("small", {}, aboutText(called)));
  const node = el("details", { class: "function", "data-function": called.name }, head);
  if (called.kind !== "init") node.append(callForm(contract, called, labels));
  return node;
}

function aboutText(called) {
  const calls = Number(called.contract_calls), others = calls ? `, and that of ${many(calls)} calls of other contracts at most` : "";
  const rows = called.static ? "its rows follow from the call (static)" : "its rows follow from what it reads (chained)";
  const kind = { init: "init, which ran at the deployment", entry: "entry", view: "view" }[called.kind] ?? called.kind;
  return [kind, ...(called.accepts_coins ? ["takes coins"] : []), `worst gas ${many(called.gas_max)}${others}`, rows].join(" · ");
}

function callForm(contract, called, labels) {
  const inputs = called.params.map((param) => field(param.name, param.type, expected(param.type, param.max ?? undefined), `argument.${param.name}`));
  const sender = field("sender", "Address", "who calls; empty: nobody, whose coins are not asked after");
  const coins = field("coins", "u64", "coins that go along; empty: none"), gas = field("gas", "u64", "its limit; empty: what a block has");
  const asked = [...inputs, sender, ...(called.accepts_coins ? [coins] : []), gas];
  return form(asked, called.kind === "view" ? "Ask" : "Simulate", async (answer) => {
    const values = called.params.map((param, i) => [param.name, toJson(fromText(param.type, inputs[i].input.value, param.name, param.max ?? undefined))]);
    const body = { function: called.number, arguments: Object.fromEntries(values) };
    for (const [name, each] of [["sender", sender], ["amount", coins], ["gas", gas]]) {
      const text = each.input.value.trim();
      if (text) body[name] = toJson(fromText(name === "sender" ? "Address" : "u64", text, name));
    }
    try { answer.replaceChildren(...(await simulated(called, labels, await post(`/v1/contracts/${contract.address}/simulate`, body)))); }
    catch (error) {
      if (!error.problem?.verdict) throw error;
      const { detail, fee } = error.problem, price = fee === undefined ? "" : ` It would have to offer a fee of ${many(fee)}.`;
      throw new Error(`Nobody can send this as this sender: ${detail}.${price}`);
    }
  });
}

async function simulated(called, labels, outcome) {
  const failed = failureWords(outcome), results = outcome.results_bytes ? decoded(called.results, outcome.results_bytes) : [];
  const verb = called.kind === "view" ? "It answers" : "It would go through";
  return [
    el("p", { class: failed ? "bad" : "good" }, failed ? `It would fail: ${failed} (${outcome.failure}).` : `${verb}, at height ${many(outcome.height)}. Nothing was sent.`),
    ...(results?.length ? [el("h3", {}, "Results"), valueFacts(results)] : []),
    facts([
      ["Gas", `${many(outcome.gas)} of ${many(called.gas_max)} at worst`],
      ...(called.kind === "view" ? [] : [["Fee to offer", many(outcome.fee)], ["Deposit in it; below zero comes back", `${many(outcome.deposit)}, for ${many(outcome.entries_created)} new entries and ${many(outcome.entries_removed)} removed`]]),
    ]),
    ...(outcome.events.length ? [el("h3", {}, "Events"), await eventsTable(outcome.events.map((each) => ({ contract: each.contract, event: each.number, data: each.bytes })))] : []),
    ...(outcome.changes.length ? [el("h3", {}, "Changes"), changesTable(outcome.changes, labels)] : []),
  ];
}

function changesTable(changes, labels) {
  const shown = (value) => (value ? code(value) : el("span", { class: "soft" }, "none"));
  return table([["Entry"], ["Before"], ["After"]], changes.map(({ key, before, after }) => cells(
    [link(`#/entry/${key}`, labels.get(key) ?? code(`${key.slice(0, 24)}…`)), shown(before), shown(after)], ["", "long", "long"],
  )));
}
