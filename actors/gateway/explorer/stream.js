// The event stream, which is opened again where it ends, from the block on that was told of last.
import { parseExact } from "./values.js";

const PAUSE_MS = 500, PAUSE_MS_MAX = 10000;
const OF_BLOCKS = new Set(["block", "transaction", "event", "lagged"]);

export function follow(query, on, { state = () => {}, from = null } = {}) {
  // on: called with every message, with those of a block once. from: the height to begin with, or null for now.
  let socket, closed = false, pause = PAUSE_MS, resume = from, told = new Set();
  const open = () => {
    const again = resume === null ? "" : `&from_height=${resume}`;
    socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/v1/events?${query}${again}`);
    socket.onopen = () => { pause = PAUSE_MS; state(true, ""); };
    socket.onmessage = ({ data }) => {
      const event = parseExact(data);
      if (event.type === "hello" && resume === null) resume = event.height + 1;
      if (OF_BLOCKS.has(event.type)) {
        if (event.height > resume) { resume = event.height; told = new Set(); }
        if (told.has(data)) return;
        told.add(data);
      }
      on(event);
    };
    socket.onclose = ({ reason }) => {
      if (closed) return;
      state(false, reason);
      setTimeout(() => { if (!closed) open(); }, (pause = Math.min(2 * pause, PAUSE_MS_MAX)));
    };
  };
  open();
  return { close: () => { closed = true; socket.close(); } };
}
