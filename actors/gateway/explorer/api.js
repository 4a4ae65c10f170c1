// The node's JSON API.

export async function read(path) {
  const response = await fetch(path);
  const text = await response.text();
  // 64-bit integers that a double cannot hold become strings before they are parsed.
  const value = JSON.parse(text.replace(/([:[,]\s*)(\d{16,})(?=\s*[,}\]])/g, '$1"$2"'));
  if (!response.ok) throw new Error(value.detail || value.title || `status ${response.status}`);
  return value;
}

export async function readBytes(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
