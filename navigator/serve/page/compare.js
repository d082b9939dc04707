// Side by side: one request to the model that reads vectors and to the one that looks at pictures, measured now.
import { call } from "./api.js";
import { card, catalogueBoard, grid, listOf, tiles } from "./cards.js";
import { announce, el, fill, heading, ms, plural, usd } from "./dom.js";
import * as store from "./store.js";

const K = 6;
const SIDES = [["swapped", "Swapped", "reads one vector for each picture"], ["native", "Native", "looks at each picture with its own eyes"]];

/** "n times" as people say it: two digits. */
export const times = (ratio) => (ratio >= 10 ? Math.round(ratio).toLocaleString("en") : ratio.toFixed(1));

/** The view of #compare=BOARD. */
export async function show(main, view, value, { signal }) {
  const place = el("div");
  const choice = el("select", { id: "which", onchange: () => { location.hash = `#${new URLSearchParams({ compare: choice.value })}`; } });
  const measure = el("button", { type: "button", className: "main", textContent: "Measure", disabled: true });
  main.replaceChildren(heading("Swapped and native, side by side"),
    el("p", { className: "lead", textContent: "The same board goes to both models. How long each takes is measured when you press the button, on this server." }),
    el("div", { className: "row" }, el("label", { htmlFor: "which", textContent: "Board" }), choice, measure), place);
  await fill(place, [], async () => {
    const own = store.boards().filter((one) => one.items.length).map((one) => [one.id, one.title]);
    const theirs = await call("v1/boards?limit=12", { signal });
    const all = [...own, ...theirs.map((one) => [one.board, one.title])];
    if (value && !all.some(([id]) => id === value)) all.unshift([value, value]);
    choice.replaceChildren(...all.map(([id, title]) => el("option", { value: id, textContent: title || id })));
    if (value) choice.value = value;
    measure.disabled = !all.length;
    return all.length ? [] : [el("p", { className: "empty", textContent: "There is no board to compare on. Create one with a few pictures." })];
  });
  measure.onclick = () => {
    measure.disabled = true;
    return run(place, choice.value, signal).finally(() => { measure.disabled = false; });
  };
}

function run(place, id, signal) {
  return fill(place, [el("p", { className: "note", textContent: "Both are at work; the native one may need some seconds." }), ...tiles(K)], async () => {
    const board = store.isOwn(id) ? store.board(id) : await catalogueBoard(id, signal);
    const history = board.items.map(({ item }) => item).slice(-20);
    const answer = await call("v1/compare", { body: { history, k: K }, signal, timeoutMs: 120000 });
    return shown(answer, history.length);
  });
}

const code = (text) => el("code", { textContent: text });

function shown(answer, asked) {
  const { swapped, native } = answer;
  const said = native ? `Swapped answered ${times(native.latency_ms / swapped.latency_ms)} times faster` : "";
  const cheaper = native?.usd_per_1000 && swapped.usd_per_1000 ? ` and costs ${times(native.usd_per_1000 / swapped.usd_per_1000)} times less` : "";
  const same = native ? native.results.filter((one) => swapped.results.some((other) => other.item === one.item)).length : 0;
  announce(said);
  return [
    el("p", { className: "verdict", textContent: native ? `${said}${cheaper}.` : "No native model is served here, so there is nothing to measure against." }),
    native ? null : el("p", {}, "Start the server with one beside the swapped model: ", code("navigator serve --native FOLDER"), "."),
    el("div", { className: "sides" }, ...SIDES.filter(([name]) => answer[name]).map((side) => column(side, answer))),
    swapped.usd_per_1000 === null ? el("p", { className: "note" }, "No prices: the server was not told what its machine costs. Start it with ",
      code("--batching.usd_per_hour"), ".") : null,
    el("p", { className: "note", textContent: `One request of ${plural(asked, "picture")} and ${plural(answer.candidates, "candidate")}, just now.${
      native ? ` ${same} of the ${swapped.results.length} first are the same.` : ""}` }),
  ].filter(Boolean);
}

function column([name, title, how], answer) {
  const side = answer[name];
  const list = listOf(answer.release, side.results);
  const figure = (label, value) => [el("dt", { textContent: label }), el("dd", { textContent: value })];
  return el("section", { "aria-label": title }, el("h2", { textContent: title }), el("p", { className: "note", textContent: `It ${how}.` }),
    el("dl", {}, ...figure("Latency", ms(side.latency_ms)), ...figure("1,000 requests", usd(side.usd_per_1000)),
      ...figure("Tokens", side.tokens?.toLocaleString("en") ?? "–")),
    grid(side.results.map((one) => card(one, list)), `First by ${title.toLowerCase()}`));
}
