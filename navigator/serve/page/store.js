// What this browser keeps: boards, and the switch for counting. Read anew each time, so that two tabs agree.
const BOARDS = "navigator.boards";
const memory = new Map(); // where the browser refuses to keep anything, the tab does

export function read(name) {
  try {
    return localStorage.getItem(name) ?? memory.get(name) ?? null;
  } catch (error) {
    if (error instanceof DOMException) return memory.get(name) ?? null;
    throw error;
  }
}

export function write(name, value) {
  memory.set(name, value);
  try {
    localStorage.setItem(name, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

export function forget(name) {
  memory.delete(name);
  try {
    localStorage.removeItem(name);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** 128 random bits; crypto.randomUUID is missing on plain http. */
export const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

/** A person's boards, the latest changed first: [{id, title, items: [{item, title}]}]; what cannot be read is none. */
export function boards() {
  try {
    const kept = JSON.parse(read(BOARDS) ?? "[]");
    return Array.isArray(kept) ? kept.filter((b) => typeof b?.id === "string" && Array.isArray(b.items)) : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

export const board = (id) => boards().find((one) => one.id === id) ?? null;
export const isOwn = (id) => id.startsWith("own-");

const keep = (all) => write(BOARDS, JSON.stringify(all));

/** Put a board on top, changed or new. */
export function put(changed) {
  keep([changed, ...boards().filter((one) => one.id !== changed.id)]);
  return changed;
}

export const create = (title, items = []) => put({ id: `own-${random().slice(0, 12)}`, title, items });
export const drop = (id) => keep(boards().filter((one) => one.id !== id));

/** A board with an item more; twice is once. */
export function add(id, { item, title }) {
  const into = board(id);
  return into && put({ ...into, items: [...into.items.filter((one) => one.item !== item), { item, title }] });
}

export function remove(id, item) {
  const from = board(id);
  return from && put({ ...from, items: from.items.filter((one) => one.item !== item) });
}
