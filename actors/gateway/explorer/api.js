// The node's JSON API.
import { parseExact } from "./values.js";

const DESCRIPTIONS_KEPT = 256;
const descriptions = new Map();

export const read = (path) => answer(fetch(path));
export const post = (path, body) => answer(fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }));

async function answer(request) {
  const response = await request, value = parseExact(await response.text());
  if (response.ok) return value;
  const words = value.detail || value.title || `status ${response.status}`;
  throw Object.assign(new Error(value.field ? `${value.field}: ${words}` : words), { status: response.status, problem: value });
}

export async function readBytes(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

export async function found(path) {
  // What is there; null if there is nothing.
  try { return await read(path); } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export async function contractAt(address) {
  // What the contract at an address is, null if there is none. It never changes, and is read once.
  if (!descriptions.has(address)) {
    const contract = await found(`/v1/contracts/${encodeURIComponent(address)}`);
    if (!contract) return null;
    descriptions.set(address, contract);
    if (descriptions.size > DESCRIPTIONS_KEPT) descriptions.delete(descriptions.keys().next().value);
  }
  return descriptions.get(address);
}

export async function contractsAt(addresses) {
  // Those that can be read, by address: what a page shows is no less where one cannot.
  const contracts = new Map();
  await Promise.all([...new Set(addresses)].map(async (address) => contracts.set(address, await contractAt(address).catch(() => null))));
  return contracts;
}
