// Boards that complete themselves: a person's own, kept in this browser, and those of the catalogue to start from.
import { call } from "./api.js";
import { button, card, catalogueBoard, cover, covers, grid, listOf, tiles } from "./cards.js";
import { announce, el, fill, heading, plural, to, toast } from "./dom.js";
import { newBoard, saveTo } from "./save.js";
import * as store from "./store.js";
import { why } from "./why.js";

const SHOWN = 8; // items of a board that are shown at first, the newest ones
const HISTORY = 100; // items of a board that are sent, the newest ones

/** The view of #boards: one's own, then the catalogue's. */
export function show(main, view, value, { signal }) {
  if (view === "board") return open(main, value, signal);
  const own = store.boards();
  const title = el("input", { required: true, maxLength: 80, placeholder: "Title of a new board", autocomplete: "off",
    "aria-label": "Title of a new board" });
  const words = el("input", { type: "search", placeholder: "Find a board", "aria-label": "Find a board of the catalogue by its title" });
  const place = el("div");
  const look = () => covers(place, signal, 24, words.value.trim());
  main.replaceChildren(heading("Boards"),
    el("form", { className: "search", onsubmit: (event) => {
      event.preventDefault();
      if (title.value.trim()) location.hash = to("board", newBoard(title.value.trim()).id);
    } }, title, el("button", { className: "main", textContent: "Create" })),
    own.length ? grid(own.map((one) => cover(one.id, one.title, one.items.length, one.items.slice(-4))), "Your boards", "covers")
      : el("p", { className: "note", textContent: "You have no boards yet. Create one, save a picture from a search, or start from one of these." }),
    el("div", { className: "between" }, el("h2", { textContent: "From the catalogue" }),
      el("form", { role: "search", onsubmit: (event) => { event.preventDefault(); look(); } }, words)), place);
  return look();
}

/** One board: its items and, below, what would complete it. */
async function open(main, id, signal) {
  const place = el("div");
  main.replaceChildren(place);
  await fill(place, tiles(6), async () => {
    const board = store.isOwn(id) ? store.board(id) : await catalogueBoard(id, signal).then((one) => ({ ...one, id }));
    if (!board) return [heading("This board is not in this browser"), el("p", {}, el("a", { href: "#boards=", textContent: "All boards" }))];
    return [render(place, board, signal)];
  });
}

function render(place, board, signal) {
  const own = store.isOwn(board.id);
  const items = el("div");
  const suggestions = el("div");
  const state = { board, dismissed: [], signal, items, suggestions };
  const head = el("div", { className: "between" }, heading(board.title || "Untitled"), el("div", { className: "row" }, ...(own ? [
    button("Rename", "Rename this board", () => rename(place, state)),
    button("Remove", "Remove this board", () => removeBoard(board)),
  ] : [button("Make it mine", "Make it mine: copy this board to your boards", () => mine(state), { className: "main" })]),
  el("a", { className: "button", href: to("compare", board.id), textContent: "Compare" })));
  showItems(state);
  suggest(state);
  return el("div", {}, head, items, el("h2", { textContent: "To complete it" }), suggestions);
}

function showItems(state) {
  const { board, items } = state;
  const list = listOf(null, board.items);
  const take = (one) => button("Remove", `Remove ${one.title || "Untitled"} from this board`, () => {
    state.board = store.remove(board.id, one.item);
    showItems(state);
    suggest(state);
    toast(`${one.title || "It"} was removed`, ["Undo", () => { store.put(board); state.board = board; showItems(state); suggest(state); }]);
  });
  const all = board.items.length + (board.more ?? 0);
  const newest = state.whole ? board.items : board.items.slice(-SHOWN); // what completes a board must not be far below
  const cards = newest.map((one) => card(one, list, store.isOwn(board.id) ? [take(one)] : []));
  const said = `Show ${all > board.items.length ? `${board.items.length} of ` : "all "}${plural(all, "picture")}`;
  const whole = newest.length < board.items.length && button(said, null, () => { state.whole = true; showItems(state); });
  items.replaceChildren(...cards.length ? [grid(cards, "On this board", "small"), whole ? el("p", { className: "centre" }, whole) : ""] : [el("p", { className: "empty", textContent: "Nothing is on it yet. What is below goes by its title alone." })]);
}

function rename(place, state) {
  const title = el("input", { value: state.board.title, required: true, maxLength: 80, "aria-label": "Title of the board" });
  const again = () => place.replaceChildren(render(place, state.board, state.signal));
  const form = el("form", { className: "search", onkeydown: (event) => event.key === "Escape" && again(), onsubmit: (event) => {
    event.preventDefault();
    if (title.value.trim()) state.board = store.put({ ...state.board, title: title.value.trim() });
    again();
  } }, title, el("button", { className: "main", textContent: "Rename" }));
  place.querySelector("h1").replaceWith(form);
  title.select();
}

function removeBoard(board) {
  store.drop(board.id);
  location.hash = "#boards=";
  toast(`“${board.title}” was removed`, ["Undo", () => { store.put(board); location.hash = to("board", board.id); }]);
}

/** A copy of a catalogue's board among one's own. */
function mine(state, open = true) {
  const copied = newBoard(state.board.title || "Untitled", state.board.items.map(({ item, title }) => ({ item, title })));
  if (open) location.replace(to("board", copied.id));
  return copied;
}

/** Ask for what would complete the board; accepting or declining one asks again. */
async function suggest(state, focus = false) {
  const { board, suggestions, dismissed } = state;
  state.asking?.abort(); // an older answer must not come after a newer one
  state.asking = new AbortController();
  const signal = AbortSignal.any([state.signal, state.asking.signal]);
  const history = board.items.map(({ item }) => item).slice(-HISTORY);
  const title = board.title ?? "";
  await fill(suggestions, suggestions.childElementCount ? [...suggestions.childNodes] : tiles(6), async () => {
    const older = board.items.map(({ item }) => item).slice(0, -HISTORY);
    const body = { history, title, k: 12, ...(history.length ? {} : { text: title }), exclude: [...older, ...dismissed] };
    const answer = await call("v1/recommend", { body, signal });
    if (!answer.results.length) return [el("p", { className: "empty", textContent: "Nothing is left to suggest." })];
    const list = listOf(answer.release, answer.results);
    const shown = grid(answer.results.map((one) => suggestion(one, list, state, answer)), "Suggestions", "suggestions");
    announce("Suggestions are up to date");
    return [shown];
  });
  if (focus) suggestions.querySelector("button")?.focus(); // where the accepted one was
}

function suggestion(result, list, state, answer) {
  const name = result.title || "Untitled";
  const accept = () => {
    const own = store.isOwn(state.board.id);
    const into = own ? state.board : mine(state, false);
    saveTo(into, result, list);
    if (!own) return location.replace(to("board", into.id));
    state.board = store.board(into.id);
    showItems(state);
    return suggest(state, true);
  };
  const decline = () => { state.dismissed.push(result.item); return suggest(state, true); };
  return card(result, list, [
    button("Add", `Add ${name} to this board`, accept, { className: "main" }),
    button("Not this", `Not this: ${name}`, decline),
  ], why(result, answer));
}
