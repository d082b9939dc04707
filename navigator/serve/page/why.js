// "Why this": the item of the board that a suggestion is nearest to, the board that holds both, and who found it.
import { picture } from "./cards.js";
import { el, ordinal, plural, to } from "./dom.js";

const SOURCES = { model: "the model", "content-graph": "looks with boards", content: "looks alone", text: "the words" };

/** A cosine in plain words. */
export const likeness = (cosine) => cosine >= 0.9 ? "almost the same" : cosine >= 0.7 ? "very similar"
  : cosine >= 0.4 ? "similar" : "only loosely similar";

/** What a result of /v1/recommend says of its reasons, to be unfolded. */
export function why({ because, board, sources, ranking }, { candidates }) {
  const found = Object.entries(sources ?? {}).sort((a, b) => a[1] - b[1]).map(([name, place]) => `${SOURCES[name] ?? name} (${ordinal(place)})`);
  const lines = [
    because && el("p", { className: "near" }, picture(because.item, 48), el("span", {}, "Nearest on this board: ",
      el("a", { href: to("item", because.item), textContent: because.title || "Untitled" }),
      `. To the model they are ${likeness(because.cosine)} (cosine ${because.cosine.toFixed(2)}).`)),
    board && el("p", {}, "The board ", el("a", { href: to("board", board.board), textContent: board.title || board.board }),
      ` holds it with ${plural(board.shared, "picture")} of this one.`),
    found.length > 0 && el("p", { textContent: `Found by ${found.join(", ")}.` }),
    el("p", { textContent: ranking ? `The model ranked it ${ordinal(ranking)} of ${plural(candidates, "candidate")}.` : "The model did not rank it." }),
  ];
  return el("details", { className: "why" }, el("summary", { textContent: "Why this" }), ...lines.filter(Boolean));
}
