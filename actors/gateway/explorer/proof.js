// Checks proofs in the browser, with the browser's own SHA-256 and Ed25519 and nothing of the node's.
//
// The chain of reasons is that of actors/gateway/proof.py: the id is the hash of the row that is shown; the id
// is a leaf under the header's transaction root (RFC 9162, section 2.1.3.2); a member signed the header; and
// more than half of the members voted for its hash in one term. An entry of a contract is a leaf under the header's
// state root (ICS-23's `smtSpec`). Signatures bind the network, which is the hash of
// the genesis as it came. What remains to trust is that genesis.

// Byte layouts as in actors/ledger/rows.py and block.py, little-endian.
const ROW = [
  ["version", 1], ["kind", 1], ["flags", 2], ["payload_bytes", 4], ["chain_tag", 8], ["nonce", 8], ["amount", 8],
  ["fee", 8], ["expiry_height", 8], ["sender", 32], ["recipient", 32], ["payload_hash", 32], ["signature", 64],
];
const ROW_BYTES = 208, HEADER_BYTES = 200, VOTE_BYTES = 96;
const CERTIFICATE_VERSION = 2, CERTIFICATE_HEAD_BYTES = 12, CERTIFICATE_COUNT_AT = 2, CERTIFICATE_TERM_AT = 4;
const GENESIS_DOMAIN = "raychain/genesis/3";
const TRANSACTION_COUNT_AT = 4, HEIGHT_AT = 8, TERM_AT = 16, TRANSACTION_ROOT_AT = 72, STATE_ROOT_AT = 104, PROPOSER_AT = 168;

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
export function bytesOf(text) {
  if (!/^([0-9a-f]{2})*$/i.test(text)) throw new Error("not hexadecimal");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
const joined = (...parts) => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
};
const text = (words) => new TextEncoder().encode(words);
export const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));

export async function rootFromProof(leaf, index, size, path) {
  // RFC 9162, section 2.1.3.2. Positions stay below 2^31 here: a block holds far fewer transactions.
  if (!(index >= 0 && index < size)) throw new Error("index outside of the tree");
  let position = index, last = size - 1, hash = leaf;
  for (const sibling of path) {
    if (last === 0) throw new Error("proof is too long");
    if (position % 2 === 1 || position === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash);
      while (position % 2 === 0 && position !== 0) { position >>= 1; last >>= 1; }
    } else {
      hash = await sha256(Uint8Array.of(1), hash, sibling);
    }
    position >>= 1;
    last >>= 1;
  }
  if (last !== 0) throw new Error("proof is too short");
  return hash;
}

export function rowOf(tx) {
  // The 208 bytes of a row from its JSON.
  const row = new Uint8Array(ROW_BYTES), view = new DataView(row.buffer);
  let at = 0;
  for (const [field, size] of ROW) {
    if (size > 8) row.set(bytesOf(tx[field]), at);
    else {
      const value = field === "payload_bytes" ? BigInt(tx.payload.length / 2) : BigInt(tx[field] ?? 0);
      for (let i = 0; i < size; i++) view.setUint8(at + i, Number((value >> BigInt(8 * i)) & 255n));
    }
    at += size;
  }
  return row;
}

async function signedBy(key, signature, message) {
  const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", imported, signature, message);
}

export async function checkProof(tx, proof, genesis) {
  // genesis: its bytes, as the API serves them. Steps as {name, passed, detail}; the first that fails is the last.
  return checkSteps(proof, genesis, async (step, header) => {
    await step("The id is the hash of this transaction", async () => {
      demand(hex(await sha256(Uint8Array.of(0), rowOf(tx))) === tx.id, "another hash");
      demand(proof.leaf === tx.id, "the proof is for another transaction");
      return tx.id;
    });
    await step("The id is under the block's transaction root", async () => {
      const count = new DataView(header.buffer).getUint32(TRANSACTION_COUNT_AT, true);
      demand(count === proof.size, `the block has ${count} transactions`);
      const root = await rootFromProof(bytesOf(proof.leaf), proof.index, proof.size, proof.proof.map(bytesOf));
      demand(hex(root) === hex(header.slice(TRANSACTION_ROOT_AT, TRANSACTION_ROOT_AT + 32)), "another root");
      return `${proof.proof.length} hashes up, position ${proof.index} of ${proof.size}`;
    });
  });
}

export async function checkEntry(key, proof, genesis) {
  // The same for an entry of the state, or that there is none. proof: as /v1/entries/KEY/proof has it.
  return checkSteps(proof, genesis, async (step, header) => {
    await step("The value is under the block's state root", async () => {
      demand(proof.key === key.toLowerCase(), "the proof is for another key");
      const value = proof.value === null ? null : bytesOf(proof.value);
      const root = await rootFromStateProof(bytesOf(proof.key), value, proof);
      demand(hex(root) === hex(header.slice(STATE_ROOT_AT, STATE_ROOT_AT + 32)), "another root");
      const height = new DataView(header.buffer).getBigUint64(HEIGHT_AT, true);
      demand(height === BigInt(proof.height), `the header is of height ${height}`);
      return `${value ? `${value.length} bytes` : "no such entry"}, ${proof.siblings.length} hashes up, height ${height}`;
    });
  });
}

async function rootFromStateProof(key, value, { siblings, leaf_path, leaf_value_hash }) {
  // The sparse Merkle tree of actors/ledger/smt.py: `siblings` go from the root down.
  const path = await sha256(key), bit = (of, depth) => (of[depth >> 3] >> (7 - (depth & 7))) & 1;
  demand(siblings.length <= 8 * path.length, "more siblings than a path has bits");
  let node = new Uint8Array(path.length);
  if (leaf_path === null || leaf_value_hash === null) demand(value === null && leaf_path === leaf_value_hash, "the place is empty");
  else {
    const leaf = bytesOf(leaf_path), held = bytesOf(leaf_value_hash);
    demand(leaf.length === path.length && held.length === path.length, "the leaf has another length");
    demand((value !== null) === (hex(leaf) === hex(path)), "the leaf is that of another key");
    demand(value === null || hex(await sha256(value)) === hex(held), "the leaf has another value");
    for (let depth = 0; depth < siblings.length; depth++) demand(bit(path, depth) === bit(leaf, depth), "the leaf is at another place");
    node = await sha256(Uint8Array.of(0), leaf, held);
  }
  for (let depth = siblings.length - 1; depth >= 0; depth--) {
    const sibling = bytesOf(siblings[depth]);
    demand(sibling.length === path.length, "a sibling has another length");
    node = await (bit(path, depth) ? sha256(Uint8Array.of(1), sibling, node) : sha256(Uint8Array.of(1), node, sibling));
  }
  return node;
}

const demand = (holds, words) => { if (!holds) throw new Error(words); };

async function checkSteps(proof, genesis, under) {
  // What is proven to be under the header, by `under`; then that the header is final.
  const steps = [];
  const step = async (name, check) => {
    try {
      const detail = await check();
      steps.push({ name, passed: true, detail });
    } catch (error) {
      steps.push({ name, passed: false, detail: error.message });
      throw error;
    }
  };
  if (!globalThis.crypto?.subtle) {
    return [{ name: "Hashing in this browser", passed: false, detail: "open this page by https or on localhost" }];
  }
  try {
    const header = bytesOf(proof.header);
    demand(header.length === HEADER_BYTES, "the header has another length");
    await under(step, header);
    await checkFinal(step, header, proof, genesis);
  } catch (error) {
    if (!steps.length || steps.at(-1).passed) steps.push({ name: "Reading the proof", passed: false, detail: error.message });
  }
  return steps;
}

async function checkFinal(step, header, proof, genesis) {
  const keys = JSON.parse(new TextDecoder().decode(genesis)).members.map((member) => member.identity);
  const network = await sha256(text(GENESIS_DOMAIN), genesis), hash = await sha256(text("raychain/header/1"), header);
  await step("A member signed the header", async () => {
    const proposer = header.slice(PROPOSER_AT, PROPOSER_AT + 32);
    demand(keys.includes(hex(proposer)), "the proposer is no member");
    const message = joined(text("raychain/propose/2"), network, hash);
    demand(await signedBy(proposer, bytesOf(proof.signature), message), "not the proposer's signature");
    return hex(proposer);
  });
  await step("A majority of the members voted for the block", async () => {
    const certificate = bytesOf(proof.certificate), votes = certificate.slice(CERTIFICATE_HEAD_BYTES);
    demand(certificate.length > CERTIFICATE_HEAD_BYTES, "no votes");
    const said = new DataView(certificate.buffer), count = said.getUint16(CERTIFICATE_COUNT_AT, true);
    demand(said.getUint16(0, true) === CERTIFICATE_VERSION, "another version");
    demand(votes.length === count * VOTE_BYTES, "the votes have another length");
    const term = said.getBigUint64(CERTIFICATE_TERM_AT, true);
    demand(term >= new DataView(header.buffer).getBigUint64(TERM_AT, true), "a term older than the header's");
    const place = joined(header.slice(HEIGHT_AT, HEIGHT_AT + 8), certificate.slice(CERTIFICATE_TERM_AT, CERTIFICATE_HEAD_BYTES));
    const voters = new Set(), message = joined(text("raychain/vote/2"), network, place, hash);
    for (let at = 0; at < votes.length; at += VOTE_BYTES) {
      const member = votes.slice(at, at + 32), signature = votes.slice(at + 32, at + VOTE_BYTES);
      demand(keys.includes(hex(member)), "a vote of no member");
      demand(await signedBy(member, signature, message), "a vote with a wrong signature");
      voters.add(hex(member));
    }
    demand(2 * voters.size > keys.length, "no majority");
    return `${voters.size} of ${keys.length} in term ${term}`;
  });
}
