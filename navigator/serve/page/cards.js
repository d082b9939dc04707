// Pictures, grids of them and boards as cards: loaded when they come near, of a known size, walked through with arrow keys.
import { ask, call, key, url } from "./api.js";
import { el, fill, plural, to } from "./dom.js";

/** What is counted can wait until the pictures are there. */
const counted = (what, ...details) => import("./events.js").then((events) => events[what](...details));

const FILES = [64, 128, 256, 512]; // sides of the pictures that the server makes
const wanted = new WeakMap(); // img -> address, where a picture needs the API key, which <img> cannot send
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    fetched(target);
  }
}, { rootMargin: "200px" });

async function fetched(img) {
  try {
    const blob = await (await ask(wanted.get(img))).blob();
    img.onload = () => URL.revokeObjectURL(img.src);
    img.src = URL.createObjectURL(blob);
  } catch (error) {
    if (error.name !== "Trouble") throw error;
    img.alt = "(no picture)";
  }
}

/** An item's picture, `size` pixels on the page; the smallest file that is sharp enough on a fine screen. */
export function picture(item, size, alt = "") {
  const path = `v1/items/${encodeURIComponent(item)}/picture?size=${FILES.find((side) => side >= size * 1.3) ?? 512}`;
  const img = el("img", { width: size, height: size, alt, decoding: "async", draggable: false });
  if (key() === null) {
    img.loading = "lazy";
    img.src = url(path).href;
  } else {
    wanted.set(img, path);
    near.observe(img);
  }
  return img;
}

/** A list is what one answer showed: its release (null: nothing of a model, which is not counted), and what was seen of it. */
export const listOf = (release, results) => ({ release, results, seen: new Set() });

const clicked = ({ item }, { release }) => release && counted("track", "click", { item_id: item, system: release });

/** One item of a list, with `actions` below and `more` under them. */
export function card(result, list, actions = [], more = null) {
  const title = result.title || "Untitled";
  const link = el("a", { href: to("item", result.item), className: "pic", onclick: () => clicked(result, list), title: "Open, and see more like this" },
    picture(result.item, 192), el("span", { className: "title", textContent: title }));
  const node = el("li", { className: "card" }, link, actions.length ? el("div", { className: "actions" }, ...actions) : null, more);
  if (list.release) counted("saw", node, result.item, list);
  return node;
}

/** A grid of cards: one stop of the Tab key, arrow keys within it. */
export function grid(cards, label, kind = "") {
  const list = el("ul", { className: `grid ${kind}`, "aria-label": label }, ...cards);
  const stops = (node) => node.querySelectorAll("a, button, summary");
  const only = (current) => {
    for (const node of list.children) for (const stop of stops(node)) stop.tabIndex = node === current ? 0 : -1;
  };
  only(list.firstElementChild);
  list.addEventListener("focusin", (event) => only(event.target.closest("li")));
  list.addEventListener("keydown", (event) => {
    const all = [...list.children];
    const at = all.indexOf(event.target.closest("li"));
    const across = all.filter((node) => node.offsetTop === all[0].offsetTop).length;
    const step = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + across, ArrowUp: at - across, Home: 0, End: all.length - 1 };
    const next = all[step[event.key]];
    if (!next) return;
    event.preventDefault();
    stops(next)[0].focus();
  });
  return list;
}

/** Tiles that keep the room of pictures to come. */
export const tiles = (n) => [el("ul", { className: "grid", "aria-hidden": "true" },
  ...Array.from({ length: n }, () => el("li", { className: "card tile" })))];

export const button = (text, label, onclick, props = {}) => el("button", { type: "button", textContent: text, "aria-label": label, onclick, ...props });

/** The two things that can be done with any item: save it to a board, ask about it. */
export function usual(result, list) {
  const title = result.title || "Untitled";
  return [
    el("a", { href: to("item", result.item), textContent: "Similar", "aria-label": `Similar to ${title}`,
      onclick: () => clicked(result, list) }),
    button("Save", `Save ${title} to a board`, async () => (await import("./save.js")).save(result, list)),
    button("Ask", `Ask about ${title} in the chat`, async () => (await import("./chat.js")).attach(result)),
  ];
}

/** A board as a card: up to four pictures and its title. */
export function cover(id, title, count, items) {
  const pictures = el("span", { className: "cover" }, ...items.slice(0, 4).map(({ item }) => picture(item, 96)));
  return el("li", { className: "card" }, el("a", { href: to("board", id), className: "pic" }, pictures,
    el("span", { className: "title", textContent: title || "Untitled" }), el("span", { className: "note", textContent: plural(count, "picture") })));
}

/** Fill `place` with boards of the catalogue; their pictures come when they are near the window. */
export function covers(place, signal, limit, query = "") {
  return fill(place, tiles(limit), async () => {
    const found = await call(`v1/boards?${new URLSearchParams({ query, limit })}`, { signal });
    if (!found.length) return [el("p", { className: "empty", textContent: query ? "No board has such a title." : "The catalogue has no boards." })];
    const all = found.map((one) => cover(one.board, one.title, count(one.items), []));
    const watch = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        watch.unobserve(target);
        paint(target, found[all.indexOf(target)].board, signal);
      }
    }, { rootMargin: "100px" });
    for (const node of all) watch.observe(node);
    return [grid(all, "Boards of the catalogue", "covers")];
  });
}

const count = (items) => (Array.isArray(items) ? items.length : items);

async function paint(node, id, signal) {
  try {
    const known = await catalogueBoard(id, signal);
    node.querySelector(".cover").replaceChildren(...known.items.slice(0, 4).map(({ item }) => picture(item, 96)));
  } catch (error) {
    if (error.name !== "Trouble" && error.name !== "AbortError") throw error; // a cover without pictures still opens
  }
}

export const catalogueBoard = (id, signal) => call(`v1/boards/${encodeURIComponent(id)}`, { signal });
