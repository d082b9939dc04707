// Searching by words, by a picture or by an item; where nothing was asked yet, boards to start from.
import { call, Trouble } from "./api.js";
import { card, covers, grid, listOf, picture, tiles, usual } from "./cards.js";
import { announce, el, fill, heading, ms, plural, to } from "./dom.js";

const K = 24;
const own = new Map(); // name -> data URL of a person's picture
const answers = new Map(); // address -> what it showed, so that going back is at once
const LAST = "navigator.picture"; // the latest one outlives a reload of this tab

/** Search by a person's picture: a new address, so that the back button works. */
export function byPicture(data) {
  const name = Date.now().toString(36);
  own.set(name, data);
  try {
    sessionStorage.setItem(LAST, JSON.stringify([name, data]));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // full: it will be gone after a reload
  }
  location.hash = to("picture", name);
}

function recalled(name) {
  const [kept, data] = JSON.parse(sessionStorage.getItem(LAST) ?? "[]");
  const found = own.get(name) ?? (kept === name ? data : null);
  if (!found) throw new Trouble("That picture is no longer here; pictures are not kept. Drop it once more.");
  return found;
}

function field(words, chooser) {
  const input = el("input", { type: "search", name: "words", value: words, placeholder: "Search in words, or drop a picture", maxLength: 300,
    "aria-label": "Search in words", autocomplete: "off", enterKeyHint: "search", id: "words" });
  return el("form", { className: "search", role: "search", onsubmit: (event) => {
    event.preventDefault();
    if (input.value.trim()) location.hash = to("search", input.value.trim());
  } }, input, chooser, el("button", { className: "main", textContent: "Search" }));
}

async function search(asked, signal, shown = []) {
  return call("v1/search", { body: { ...asked, k: K, ...(shown.length ? { exclude: shown } : {}) }, signal });
}

const cardsOf = (list) => list.results.map((result) => card(result, list, usual(result, list)));

/** The grid of an answer, a line about it, and a way to more. */
function found(answer, asked, signal, label, before = []) {
  if (!answer.results.length && before.length) return [el("p", { className: "empty", textContent: "That was all." })];
  if (!answer.results.length) return [el("p", { className: "empty", textContent: "Nothing was found. Try other words, or a picture." })];
  const list = answer.list ??= listOf(answer.release, answer.results); // the same when one comes back: seen once
  const spent = Object.values(answer.timings_ms ?? {}).reduce((sum, one) => sum + one, 0);
  announce(`${plural(answer.results.length, "picture")} found`);
  const shown = [...before, ...answer.results.map((result) => result.item)];
  const place = el("div");
  const more = el("button", { type: "button", textContent: "More", onclick: () => fill(place, tiles(6), async () => {
    const next = await search(asked, signal, shown);
    return found(next, asked, signal, `${label}, continued`, shown);
  }) });
  place.append(el("p", { className: "centre" }, more));
  return [el("p", { className: "note", textContent: `${plural(list.results.length, "picture")}${spent ? ` in ${ms(spent)}` : ""}` }),
    grid(cardsOf(list), label), answer.results.length < K ? "" : place];
}

/** Show an answer, from memory where this address was here before. */
function results(place, asked, signal, label) {
  const address = location.hash;
  return fill(place, answers.has(address) ? [] : tiles(12), async () => {
    const answer = answers.get(address) ?? await search(asked(), signal);
    answers.set(address, answer);
    return found(answer, asked(), signal, label);
  });
}

/** The view of #search, #picture and #item. */
export async function show(main, view, value, { signal, chooser }) {
  const place = el("section", { "aria-label": "Results" });
  if (view === "item") return item(main, value, place, signal);
  const top = el("div", { className: view === "search" && !value ? "hero" : "" },
    heading(value ? "Search" : "What are you looking for?"), field(view === "search" ? value : "", chooser));
  main.replaceChildren(top, place);
  if (view === "picture") {
    const data = own.get(value) ?? JSON.parse(sessionStorage.getItem(LAST) ?? "[]")[1];
    if (data) top.append(el("p", { className: "asked" }, el("img", { src: data, alt: "Your picture", width: 72, height: 72 }), "Like your picture"));
    return results(place, () => ({ image: recalled(value) }), signal, "Pictures like yours");
  }
  if (value) return results(place, () => ({ text: value }), signal, `Pictures for ${value}`);
  place.append(el("h2", { textContent: "Or start from a board" }));
  const boards = el("div");
  place.append(boards);
  return covers(boards, signal, 8);
}

/** One item: what the catalogue says of it, and more like it. */
async function item(main, id, place, signal) {
  const about = el("div", { className: "item" });
  main.replaceChildren(about, el("h2", { textContent: "More like this" }), place);
  const similar = results(place, () => ({ item: id }), signal, "More like this");
  await fill(about, [el("div", { className: "tile large" })], async () => {
    const known = await call(`v1/items/${encodeURIComponent(id)}`, { signal });
    const list = listOf(null, [known]);
    const words = (known.keywords ?? []).slice(0, 24).map((word) => el("li", {}, el("a", { href: to("search", word), textContent: word })));
    return [picture(id, 320, ""), el("div", {}, heading(known.title || "Untitled"),
      known.description ? el("p", { textContent: known.description }) : null,
      words.length ? el("ul", { className: "words", "aria-label": "Keywords" }, ...words) : null,
      el("div", { className: "row" }, ...usual(known, list).slice(1)))];
  });
  return similar;
}
