// Values of contracts and amounts: text, JSON and bytes of them. Nothing here touches the page.
//
// An integer is a BigInt from where it is read to where it is shown, for JavaScript's numbers are exact to 2^53
// only. A bool is a boolean; Address, Hash and Bytes[N] are lower-case hexadecimal digits; an array is a list.
// Bytes are those of actors/contracts/types.py: fixed widths, little-endian, one value after the other.
import { bytesOf, hex } from "./proof.js";

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const INTEGER = /^-?\d+$/, ADDRESS_BYTES = 32;
const TRUTHS = new Map([["true", true], ["false", false]]);
const WIDTHS = { bool: 1, u8: 1, u16: 2, u32: 4, u64: 8, u128: 16, i64: 8, Address: ADDRESS_BYTES, Hash: 32 };

export function parseExact(text) {
  // JSON, in which integers that a number cannot hold become strings of their digits.
  const inexact = (token) => INTEGER.test(token) && !Number.isSafeInteger(Number(token));
  return JSON.parse(text.replace(TOKEN, (token) => (inexact(token) ? `"${token}"` : token)));
}

export function many(value) {
  // A figure for people; integers of any size are exact.
  if (value === null || value === undefined) return "–";
  const exact = typeof value === "bigint" || (typeof value === "string" && INTEGER.test(value));
  return (exact ? BigInt(value) : Number(value)).toLocaleString("en");
}

export function typeOf(text) {
  // Of a type as the API writes it: {name, bytes (of one value), count (of an array, else 0), kind}.
  const array = /^Array\[(.+), (\d+)\]$/.exec(text), name = array ? array[1] : text;
  const size = /^Bytes\[(\d+)\]$/.exec(name);
  if (!size && !Object.hasOwn(WIDTHS, name)) throw new Error(`no type that this page knows: ${text}`);
  const kind = name === "bool" ? "bool" : /^[ui]\d/.test(name) ? "integer" : "bytes";
  return { name, bytes: size ? Number(size[1]) : WIDTHS[name], count: array ? Number(array[2]) : 0, kind };
}

const bits = (type) => BigInt(8 * type.bytes);
const range = (type) => (type.name === "i64" ? [-(1n << (bits(type) - 1n)), (1n << (bits(type) - 1n)) - 1n] : [0n, (1n << bits(type)) - 1n]);

export function expected(text, most) {
  // What a value of a type may be, in words. most: a declared greatest value.
  const type = typeOf(text), [low, high] = range(type);
  const one = { bool: "true or false", integer: `an integer from ${low} to ${most ?? high}`, bytes: `${2 * type.bytes} hexadecimal digits` }[type.kind];
  return type.count ? `${type.count} values, with commas between them, each ${one}` : one;
}

// -- bytes ------------------------------------------------------------------------------------------------

export function decode(names, text) {
  // [{name, type, value}] of bytes in hexadecimal. names: [{name, type}]. Throws where they are not such bytes.
  const data = bytesOf(text), wanted = names.reduce((sum, each) => sum + slotBytes(typeOf(each.type)), 0);
  if (data.length !== wanted) throw new Error(`${data.length} bytes: ${wanted}`);
  let at = 0;
  return names.map(({ name, type }) => {
    const own = typeOf(type), start = at;
    at += slotBytes(own);
    return { name, type, value: decodeSlot(own, data.subarray(start, at)) };
  });
}
const slotBytes = (type) => type.bytes * (type.count || 1);
function decodeSlot(type, data) {
  if (!type.count) return decodeValue(type, data);
  return Array.from({ length: type.count }, (_, i) => decodeValue(type, data.subarray(i * type.bytes, (i + 1) * type.bytes)));
}
function decodeValue(type, data) {
  if (type.kind === "bytes") return hex(data);
  const number = data.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  if (type.kind === "integer") return type.name === "i64" ? BigInt.asIntN(64, number) : number;
  if (number > 1n) throw new Error(`a bool is ${number}: 0 or 1`);
  return number === 1n;
}

export function encode(type, value) {
  // Inverse of the decoding of one value, or of an array.
  const own = typeOf(type);
  return (own.count ? value : [value]).map((each) => encodeValue(own, each)).join("");
}
function encodeValue(type, value) {
  if (type.kind === "bytes") return value;
  const number = BigInt.asUintN(8 * type.bytes, BigInt(value));
  return hex(Uint8Array.from({ length: type.bytes }, (_, i) => Number((number >> BigInt(8 * i)) & 255n)));
}

// -- what people type, and JSON ---------------------------------------------------------------------------

export function fromText(type, text, name, most) {
  // The value that somebody typed. Throws with the name of the field and what is expected.
  const own = typeOf(type), parts = own.count ? text.split(/[\s,]+/).filter(Boolean) : [text.trim()];
  const values = parts.map((part) => oneFromText(own, part, most));
  if ((own.count && parts.length !== own.count) || values.includes(undefined)) throw new Error(`${name}: expected ${expected(type, most)}`);
  return own.count ? values : values[0];
}
function oneFromText(type, text, most) {
  if (type.kind === "bool") return TRUTHS.get(text.toLowerCase());
  if (type.kind === "bytes") {
    const digits = text.replace(/^0x/, "").toLowerCase();
    return digits.length === 2 * type.bytes && /^[0-9a-f]*$/.test(digits) ? digits : undefined;
  }
  const digits = text.replaceAll("_", "");
  if (!INTEGER.test(digits) || digits.length > 40) return undefined;
  const value = BigInt(digits), [low, high] = range(type);
  return value >= low && value <= (most === undefined ? high : BigInt(most)) ? value : undefined;
}

export function toJson(value) {
  // As requests have it: integers as strings of their digits.
  if (Array.isArray(value)) return value.map(toJson);
  return typeof value === "bigint" ? value.toString() : value;
}
export function fromJson(type, value) {
  // A value of an answer of the API.
  if (Array.isArray(value)) return value.map((each) => fromJson(type, each));
  return typeOf(type).kind === "integer" ? BigInt(value) : value;
}

// -- transactions -----------------------------------------------------------------------------------------

export function callOf(contract, payload) {
  // {function, arguments} of a call's payload; arguments is null where they are not its bytes. contract: null if unknown.
  const number = parseInt(payload.slice(0, 2), 16);
  const called = contract?.functions.find((each) => each.number === number);
  return { number, function: called ?? null, arguments: called ? decoded(called.params, payload.slice(2)) : null, bytes: payload.slice(2) };
}

export function deploymentOf(contract, payload) {
  // The parts of a deployment's payload: program_bytes u32, source_bytes u32, both of them, arguments of its init.
  if (payload.length < 16) return null;
  const [program, source] = decode([{ name: "program", type: "u32" }, { name: "source", type: "u32" }], payload.slice(0, 16)).map((each) => Number(each.value));
  const rest = payload.slice(2 * (8 + program + source)), init = contract?.functions.find((each) => each.kind === "init");
  if (payload.length < 2 * (8 + program + source)) return null;
  return { program, source, bytes: rest, arguments: contract ? decoded(init?.params ?? [], rest) : null };
}

export function decoded(names, data) {
  // The same as `decode`; null where the bytes are no such values.
  try { return decode(names, data); } catch { return null; }
}

const FAILURES = {
  OUT_OF_GAS: "it ran out of gas", OVERFLOW: "a result did not fit its type", DIVISION_BY_ZERO: "it divided by zero",
  INDEX_OUT_OF_RANGE: "an index was outside of its array", LOOP_BOUND: "a loop had more rounds than it declares",
  REQUIREMENT: "a requirement did not hold", INSUFFICIENT_COINS: "the contract had fewer coins than it would send",
  TAKES_NO_COINS: "the function takes no coins", BAD_ARGUMENTS: "the arguments are not those of the function",
  UNKNOWN_FUNCTION: "the contract has no such function", MISSING_CONTRACT: "there is no contract at that address",
  CALL_DEPTH: "too many contracts called one another", TOO_MANY_EVENTS: "it told of too many events",
  DEPOSIT: "what was offered does not cover the deposit for new entries", BAD_PROGRAM: "the program is malformed, or breaks a rule",
  BALANCE_BELOW_MINIMUM: "an account would be left with less than the least balance",
  RESERVED_ADDRESS: "coins were sent to a key that only entries of contracts may have",
};
export function failureWords({ failure, message }) {
  // Why a call failed; empty for one that went through.
  if (!failure) return "";
  const words = FAILURES[failure] ?? "it failed";
  return message ? `${words}: “${message}”` : words;
}
export const failureNames = () => Object.keys(FAILURES);
