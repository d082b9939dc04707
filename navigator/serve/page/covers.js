// Boards as cards, and those of the catalogue: its titles at once, their pictures when they come near the window.
import { call } from "./api.js";
import { grid, picture, tiles } from "./cards.js";
import { el, fill, plural, to } from "./dom.js";

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
