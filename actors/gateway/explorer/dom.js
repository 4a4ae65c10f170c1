// What pages are built of. Text of the chain enters a page as text nodes alone, never as markup.
import { many } from "./values.js";

export const view = document.querySelector("#view");

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return node;
}
export function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
export const link = (href, text) => el("a", { href }, text);
export const short = (text) => (text.length > 20 ? `${text.slice(0, 10)}…${text.slice(-6)}` : text);
export const code = (text) => el("code", {}, text);
export const soft = (...children) => el("p", { class: "soft" }, ...children);
export const bad = (text) => el("p", { class: "bad", role: "alert" }, text);
export const card = (title, ...children) => el("section", { class: "card" }, ...(title ? [el("h2", {}, title)] : []), ...children);
export const clock = (ms) => new Date(Number(ms)).toLocaleTimeString();
export const facts = (pairs) => el("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
export const tile = (name, id) => el("dl", { class: "tile" }, el("dt", {}, name), el("dd", { id }, "–"));
export function table(heads, rows, id) {
  const head = el("tr", {}, ...heads.map(([name, kind]) => el("th", { class: kind ?? "", scope: "col" }, name)));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", id ? { id } : {}, ...rows)));
}
export const cells = (values, kinds = []) => el("tr", {}, ...values.map((value, i) => el("td", { class: kinds[i] ?? "" }, value)));
export function put(id, text) {
  const node = document.getElementById(id);
  if (node) node.textContent = text;
}

// -- values of contracts ----------------------------------------------------------------------------------

const contractLink = (address, name) => link(`#/contract/${address}`, name ? `${name} ${short(address)}` : code(short(address)));
export { contractLink };

export function valueNode(type, value) {
  // A value that values.js has read.
  if (Array.isArray(value)) return el("span", { class: "list" }, "[", ...value.flatMap((each, i) => (i ? [", ", valueNode(type, each)] : [valueNode(type, each)])), "]");
  if (typeof value === "bigint") return el("span", {}, many(value));
  if (typeof value === "boolean") return el("span", {}, String(value));
  return /^(Array\[)?Address\b/.test(type) ? link(`#/account/${value}`, code(value)) : code(value);
}
export function valueText(type, value) {
  // The same in a line: long ones are cut.
  if (Array.isArray(value)) return value.length > 4 ? `[${value.length} values]` : `[${value.map((each) => valueText(type, each)).join(", ")}]`;
  return typeof value === "bigint" ? many(value) : short(String(value));
}
export const valueFacts = (slots) => facts(slots.map(({ name, type, value }) => [el("span", {}, name, " ", el("small", {}, type)), valueNode(type, value)]));
export const slotsText = (slots) => slots.map(({ name, type, value }) => `${name}: ${valueText(type, value)}`).join(", ");
export const parametersText = (params) => params.map(({ name, type, max }) => `${name}: ${type}${max === undefined ? "" : ` up to ${many(max)}`}`).join(", ");
