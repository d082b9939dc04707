// What is counted: pictures really seen, opened and saved, by the release that showed them. A switch turns it off.
import { ask, call, key, url } from "./api.js";
import { byId } from "./dom.js";
import { forget, random, read, write } from "./store.js";

const OFF = "navigator.events";
const USER = "navigator.user";
const BATCH = 100; // events of one request
const PAUSE_MS = 2000; // events wait for others that long
const session = random();
let queue = [];
let kept = null; // whether this server keeps events: asked before the first are sent
let timer = 0;
let pauseMs = PAUSE_MS;

/** On unless it was switched off, or the browser says that its user does not want to be counted. */
export const counting = () => (read(OFF) ?? (window.navigator.globalPrivacyControl ? "off" : "on")) === "on";

export function setCounting(on) {
  write(OFF, on ? "on" : "off");
  if (on) return;
  queue = [];
  forget(USER);
}

function user() {
  if (read(USER) === null) write(USER, random());
  return read(USER);
}

/** Note an event; it is sent with others in a few seconds. */
export function track(kind, details) {
  if (!counting() || kept === false) return;
  const named = Object.fromEntries(Object.entries(details).filter(([, value]) => value));
  queue.push({ kind, user_id: user(), event_id: random(), at: Date.now() / 1000, session, ...named });
  soon();
}

function soon() {
  timer ||= setTimeout(flush, pauseMs);
}

/** Nobody counts here, or not for this key. */
function none() {
  [kept, queue] = [false, []];
  Object.assign(byId("events"), { checked: false, disabled: true, title: "This server keeps no counts" });
}

/** Send what waits; what the server could not take now is sent again under the same event_id, later and later. */
async function flush() {
  timer = 0;
  let batch = [];
  try {
    kept ??= (await call("v1/release")).events !== false;
    if (!kept) return none();
    batch = queue.splice(0, BATCH);
    if (!batch.length || !counting()) return;
    await ask("v1/events", { body: { events: batch }, timeoutMs: 15000 });
    pauseMs = PAUSE_MS;
  } catch (error) {
    if (error.name !== "Trouble") throw error;
    if ([401, 403, 404].includes(error.status) || error.code === "events_not_kept") return none();
    if (!error.mayPass) return; // it will not take these later either
    queue = [...batch, ...queue].slice(-1000);
    pauseMs = Math.max((error.waitS ?? 0) * 1000, Math.min(pauseMs * 2, 60000));
  }
  if (queue.length) soon();
}

/** On leaving: a beacon, or where a key must go along a request that outlives the page. */
function leave() {
  while (queue.length && counting()) {
    const body = JSON.stringify({ events: queue.splice(0, BATCH) });
    const type = "application/json";
    if (key() === null) window.navigator.sendBeacon(url("v1/events"), new Blob([body], { type }));
    else fetch(url("v1/events"), { method: "POST", body, keepalive: true, headers: { "Content-Type": type, Authorization: `Bearer ${key()}` } });
  }
}
addEventListener("pagehide", leave);
document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && leave());

// An impression: half of the card in view for a second, once in each list.
const cards = new WeakMap();
const watching = new IntersectionObserver((entries) => {
  for (const { target, intersectionRatio } of entries) {
    const card = cards.get(target);
    clearTimeout(card.timer);
    if (intersectionRatio >= 0.5) card.timer = setTimeout(seen, 1000, target);
  }
}, { threshold: [0, 0.5] });

function seen(target) {
  const { item, list } = cards.get(target);
  if (!target.isConnected || document.visibilityState !== "visible") return;
  watching.unobserve(target);
  if (list.seen.has(item)) return;
  list.seen.add(item);
  track("impression", { item_id: item, system: list.release });
}

/** Count an item of a list as seen when its card was. */
export function saw(node, item, list) {
  cards.set(node, { item, list, timer: 0 });
  watching.observe(node);
}
