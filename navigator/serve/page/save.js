// Saving an item: to which of the boards, or to a new one.
import { el, to, toast } from "./dom.js";
import { track } from "./events.js";
import * as store from "./store.js";

/** A new board, counted as such. */
export function newBoard(title, items = [], system = null) {
  const made = store.create(title, items);
  track("board_created", { board_id: made.id, system });
  return made;
}

/** Put an item of a list on a board, say so, and count it. */
export function saveTo(board, result, list) {
  const known = board.items.some((one) => one.item === result.item);
  store.add(board.id, result);
  if (!known) track("save", { item_id: result.item, board_id: board.id, system: list.release });
  toast(`${result.title || "Saved"} is on “${board.title}”`, ["Open it", () => { location.hash = to("board", board.id); }]);
}

/** Ask which board. */
export function save(result, list) {
  if (document.querySelector("dialog")) return; // a double click
  const field = el("input", { name: "title", id: "new-board", required: true, maxLength: 80, autocomplete: "off", placeholder: "A new board" });
  const pick = (board) => {
    dialog.close();
    saveTo(board, result, list);
  };
  const rows = store.boards().map((board) => {
    const held = board.items.some((one) => one.item === result.item);
    return el("li", {}, el("button", { type: "button", disabled: held, textContent: held ? `${board.title} (on it)` : board.title, onclick: () => pick(board) }));
  });
  const form = el("form", { className: "row", onsubmit: (event) => {
    event.preventDefault();
    if (field.value.trim()) pick(newBoard(field.value.trim(), [], list.release));
  } }, el("label", { className: "quiet", htmlFor: "new-board", textContent: "Title of a new board" }), field,
  el("button", { className: "main", textContent: "Create and save" }));
  const dialog = el("dialog", { "aria-label": "Save to a board", onclose: () => dialog.remove() },
    el("h2", { textContent: `Save ${result.title || "this"}` }), rows.length ? el("ul", { className: "choices" }, ...rows) : null, form,
    el("button", { type: "button", className: "link", textContent: "Cancel", onclick: () => dialog.close() }));
  document.body.append(dialog);
  dialog.showModal();
}
