// Pages of a block and of a transaction: kinds by name, calls by the names of their functions and arguments.
import { contractAt, contractsAt, found, read, readBytes } from "./api.js";
import { card, cells, code, contractLink, el, facts, link, parametersText, short, slotsText, soft, table, valueFacts, view } from "./dom.js";
import { checkProof } from "./proof.js";
import { proofCard } from "./proof_card.js";
import { callOf, decoded, deploymentOf, failureWords, many } from "./values.js";

const ROWS_SHOWN = 25, LINE_CHARS = 90;

// -- a block ----------------------------------------------------------------------------------------------

export async function blockPage(height, before) {
  const offset = Number(before) || 0, place = `/v1/blocks/${encodeURIComponent(height)}`, page = `offset=${offset}&limit=${ROWS_SHOWN}`;
  const [block, left] = await Promise.all([read(`${place}?${page}`), found(`${place}/receipts?${page}`)]);
  const header = block.header, count = Number(header.transaction_count), at = Number(header.height);
  const contracts = await contractsAt(block.transactions.filter((tx) => tx.kind_name !== "transfer").map((tx) => tx.recipient));
  const rows = block.transactions.map((tx, i) => transactionRow(tx, contracts.get(tx.recipient), left?.receipts[i]));
  const pages = el("p", {});
  if (offset > 0) pages.append(link(`#/block/${at}/${Math.max(0, offset - ROWS_SHOWN)}`, "← earlier "));
  pages.append(`${many(Math.min(offset + 1, count))}–${many(Math.min(offset + ROWS_SHOWN, count))} of ${many(count)}`);
  if (offset + ROWS_SHOWN < count) pages.append(link(`#/block/${at}/${offset + ROWS_SHOWN}`, " later →"));
  view.replaceChildren(
    el("h1", {}, `Block ${many(at)}`),
    card("", facts([
      ["Time (its proposer's clock, never before the parent's)", new Date(Number(header.time_ms)).toLocaleString()], ["Transactions", many(count)], ["Hash", code(header.hash)],
      ["Parent", at > 1 ? link(`#/block/${at - 1}`, code(header.parent_hash)) : code(header.parent_hash)],
      ["Transaction root", code(header.transaction_root)], ["State root", code(header.state_root)], ["Receipts root", code(header.receipts_root)],
      ["Proposer", code(header.proposer)], ["Term", many(header.term)],
    ])),
    card("Transactions", table([["Id"], ["Kind"], ["From", "wide"], ["To"], ["Amount", "number"], ["What", "wide"], ["Outcome"]], rows), pages),
  );
}

function transactionRow(tx, contract, receipt) {
  const to = tx.kind_name === "transfer" ? link(`#/account/${tx.recipient}`, short(tx.recipient)) : contractLink(tx.recipient, contract?.name);
  const failed = failureWords(receipt ?? {}), outcome = !receipt ? "–" : failed ? el("span", { class: "bad" }, failed) : el("span", { class: "good" }, "✓");
  return cells(
    [link(`#/tx/${tx.id}`, code(short(tx.id))), tx.kind_name || `kind ${tx.kind}`, link(`#/account/${tx.sender}`, short(tx.sender)), to, many(tx.amount), actionText(tx, contract), outcome],
    ["", "", "wide", "", "number", "wide text", "text"],
  );
}

function actionText(tx, contract) {
  // What a transaction does, in a line.
  let text = "";
  if (tx.kind_name === "call") {
    const call = callOf(contract, tx.payload), given = call.arguments ? slotsText(call.arguments) : "…";
    text = call.function ? `${call.function.name}(${given})` : `function ${call.number}`;
  }
  if (tx.kind_name === "deploy") {
    const deployment = deploymentOf(contract, tx.payload);
    text = deployment?.arguments?.length ? `with ${slotsText(deployment.arguments)}` : "";
  }
  return text.length > LINE_CHARS ? `${text.slice(0, LINE_CHARS)}…` : text;
}

// -- a transaction ----------------------------------------------------------------------------------------

export async function transactionPage(id) {
  const tx = await read(`/v1/transactions/${encodeURIComponent(id)}`);
  const contract = tx.kind_name === "transfer" ? null : await contractAt(tx.recipient).catch(() => null);
  const check = async () => checkProof(tx, ...(await Promise.all([read(`/v1/transactions/${tx.id}/proof`), readBytes("/v1/genesis")])));
  view.replaceChildren(
    el("h1", {}, "Transaction"),
    card("", facts([
      ["Id", code(tx.id)], ["Kind", el("span", { id: "kind" }, tx.kind_name || `kind ${tx.kind}`)],
      ["Block", link(`#/block/${tx.height}`, `${many(tx.height)}, position ${many(tx.position)}`)],
      ["From", link(`#/account/${tx.sender}`, code(tx.sender))], recipient(tx, contract),
      ["Amount", many(tx.amount)], [tx.receipt?.failure === undefined ? "Fee" : "Fee offered", many(tx.fee)], ["Nonce", many(tx.nonce)],
      ...(tx.kind_name === "transfer" ? [["Payload", tx.payload ? code(tx.payload) : "none"]] : []),
      ...(tx.receipt ? [["Sender's balance after", many(tx.receipt.sender_balance)]] : []),
    ])),
    ...(tx.kind_name === "call" ? [callCard(tx, contract)] : []),
    ...(tx.kind_name === "deploy" ? [deploymentCard(tx, contract)] : []),
    ...(tx.receipt?.failure === undefined ? [] : [await receiptCard(tx, contract)]),
    proofCard(check, "Proven: this transaction is in a final block of the network whose genesis this gateway serves. `node.py tx` judges it by a genesis that you trust."),
  );
}

function recipient(tx, contract) {
  if (tx.kind_name === "transfer") return ["To", link(`#/account/${tx.recipient}`, code(tx.recipient))];
  const name = contract ? `${contract.name} ` : "";
  return [tx.kind_name === "deploy" ? "New contract" : "Contract", link(`#/contract/${tx.recipient}`, el("span", {}, name, code(tx.recipient)))];
}

function callCard(tx, contract) {
  const call = callOf(contract, tx.payload);
  if (!call.function) {
    return card("Call", soft(contract ? `The contract has no function ${call.number} that can be called.` : "The contract is not known here, so the arguments cannot be named."), facts([["Payload", code(tx.payload)]]));
  }
  return card("Call",
    el("p", { id: "call" }, code(`${call.function.name}(${parametersText(call.function.params)})`)),
    call.arguments ? valueFacts(call.arguments) : soft("These are not the bytes of its arguments: ", code(call.bytes)),
  );
}

function deploymentCard(tx, contract) {
  const deployment = deploymentOf(contract, tx.payload);
  if (!deployment) return card("Deployment", soft("The payload is no deployment."));
  const given = deployment.arguments ? valueFacts(deployment.arguments) : facts([["Arguments", code(deployment.bytes || "none")]]);
  return card("Deployment", facts([["Program", `${many(deployment.program)} bytes`], ["Source", `${many(deployment.source)} bytes`]]), given);
}

async function receiptCard(tx, contract) {
  const receipt = tx.receipt, failed = failureWords(receipt);
  const called = tx.kind_name === "call" ? callOf(contract, tx.payload).function : null;
  const results = called ? decoded(called.results, receipt.results) : null;
  return card("Outcome",
    el("p", { id: "outcome", class: failed ? "bad" : "good" }, failed ? `Failed: ${failed} (${receipt.failure}). It has paid for what it used, and changed nothing else.` : "It went through."),
    facts([["Fee paid", many(receipt.fee)], ["Gas used", many(receipt.gas)], ...(receipt.results && !results?.length ? [["Results", code(receipt.results)]] : [])]),
    ...(results?.length ? [el("h3", {}, "Results"), valueFacts(results)] : []),
    ...(receipt.events.length ? [el("h3", {}, "Events"), await eventsTable(receipt.events.map((event) => ({ ...event, event: event.number })))] : []),
  );
}

// -- events -----------------------------------------------------------------------------------------------

export async function eventsTable(events) {
  // events: {contract, event (its number), data}.
  const contracts = await contractsAt(events.map((event) => event.contract));
  return table([["Contract"], ["Event"], ["Fields"]], events.map((event) => {
    const contract = contracts.get(event.contract), said = eventOf(contract, event);
    return cells([contractLink(event.contract, contract?.name), said.name, said.fields], ["", "", "long"]);
  }));
}

export function eventOf(contract, { event, data }) {
  // Its name, and its fields as a node. contract: null where it is not known.
  const type = contract?.events[event], fields = type ? decoded(type.fields, data) : null;
  return { name: type?.name ?? `event ${event}`, fields: fields ? valueFacts(fields) : code(data) };
}
