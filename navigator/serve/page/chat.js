// A conversation about the catalogue, with pictures: the answer is read as it is written, what was found is shown below it.
import { ask, call, lost, streamed } from "./api.js";
import { button, card, grid, listOf, picture, usual } from "./cards.js";
import { announce, el, heading, ms, plural, trouble } from "./dom.js";
import * as store from "./store.js";

const FROM_BOARD = 4; // items that come along from a board, the newest ones
const TURNS = 21; // of a conversation that are sent, the latest; odd, so that the first is a question
const turns = []; // what the model is sent: {role, content}
let attached = []; // content parts beside the words, each with what it is called
let stopping = null; // while an answer is being written
let model = null;

const log = el("div", { className: "log", role: "log", "aria-label": "Conversation" });
const chips = el("ul", { className: "chips", "aria-label": "Goes along" });
const words = el("textarea", { rows: 2, maxLength: 2000, placeholder: "Ask for something, in words or with a picture", "aria-label": "Your message", enterKeyHint: "send",
  onkeydown: (event) => {
    if (event.key === "Escape") stopping?.abort();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  } });
const sending = el("button", { className: "main", textContent: "Send" });
const from = el("select", { "aria-label": "Add from a board", onchange: () => {
  for (const one of (store.board(from.value)?.items ?? []).slice(-FROM_BOARD)) add({ type: "item", item: one.item }, one.title);
  from.value = "";
  words.focus();
} });

function add(part, name) {
  if (attached.some((one) => part.item && one.part.item === part.item)) return;
  attached.push({ part, name: name || "Untitled" });
  showChips();
}

const thumb = ({ part, name }) => (part.item ? picture(part.item, 48, name)
  : el("img", { src: part.image_url.url, alt: name, width: 48, height: 48 }));

function showChips() {
  chips.replaceChildren(...attached.map((one) => el("li", {}, thumb(one), button("×", `Leave ${one.name} out`, () => {
    attached = attached.filter((other) => other !== one);
    showChips();
    words.focus();
  }))));
}

/** A dropped, pasted or chosen picture goes along with the next message. */
export function takePicture(data) {
  add({ type: "image_url", image_url: { url: data } }, "Your picture");
  announce("The picture goes along with your next message");
  words.focus();
}

/** An item that is asked about from elsewhere. */
export function attach({ item, title }) {
  add({ type: "item", item }, title);
  location.hash = "#chat=";
}

/** The view of #chat; the conversation outlives a look at other views. */
export function show(main, view, value, { chooser }) {
  const own = store.boards().filter((one) => one.items.length);
  from.replaceChildren(el("option", { value: "", textContent: "From a board" }), ...own.map((one) => el("option", { value: one.id, textContent: one.title })));
  from.hidden = !own.length;
  const fresh = button("New conversation", "Start a new conversation", () => {
    stopping?.abort();
    turns.length = attached.length = 0;
    log.replaceChildren();
    showChips();
    words.focus();
  });
  const form = el("form", { className: "composer", onsubmit: (event) => {
    event.preventDefault();
    send();
  } }, chips, words, el("div", { className: "row" }, chooser, from, fresh, sending));
  main.replaceChildren(el("div", { className: "chat" }, heading("Chat"),
    el("p", { className: "lead", textContent: "Answers name only what was found in the catalogue. Enter sends, Shift+Enter starts a line, Escape stops." }), log, form));
  words.focus({ preventScroll: true });
}

function send() {
  if (stopping) return stopping.abort();
  const text = words.value.trim();
  if (!text && !attached.length) return words.focus();
  const parts = [...(text ? [{ type: "text", text }] : []), ...attached.map(({ part }) => part)];
  turns.push({ role: "user", content: attached.length ? parts : text });
  log.append(el("div", { className: "turn mine" }, ...attached.map(thumb), el("p", { textContent: text })));
  attached = [];
  words.value = "";
  showChips();
  return answer();
}

/** Ask for the next answer and write it down as it comes. */
async function answer() {
  const text = el("p", { className: "writing" });
  const turn = el("div", { className: "turn", "aria-busy": "true" }, text);
  log.append(turn);
  turn.scrollIntoView({ block: "nearest" });
  stopping = new AbortController();
  const { signal } = stopping;
  const asked = turns.length;
  sending.textContent = "Stop";
  let known = null;
  try {
    known = await write(text, signal);
  } catch (error) {
    const told = lost(error, signal, 60000);
    if (told.name === "Trouble") {
      turn.append(trouble(told, () => { turn.remove(); turns.splice(asked); answer(); }));
      if (!told.mayPass) turns.splice(asked - 1); // what is refused must not spoil the next question
    } else if (told.name !== "AbortError") throw error;
    else turn.append(el("p", { className: "note", textContent: "Stopped." }));
  } finally {
    stopping = null;
    sending.textContent = "Send";
    text.classList.remove("writing");
    turn.removeAttribute("aria-busy");
  }
  const items = (known?.items ?? []).map(({ item }) => ({ type: "item", item })); // so that "the second one" is known
  const said = text.textContent;
  if (said) turns.push({ role: "assistant", content: items.length ? [{ type: "text", text: said }, ...items] : said });
  if (known) turn.append(...about(known));
  turn.scrollIntoView({ block: "nearest" });
}

async function write(text, signal) {
  model ??= (await call("v1/models", { signal })).data[0].id;
  const body = { model, messages: turns.slice(-TURNS), stream: true, retrieval: { k: 6 } };
  const response = await ask("v1/chat/completions", { body, signal, timeoutMs: 300000 });
  let known = null;
  for await (const chunk of streamed(response)) {
    const choice = chunk.choices?.[0];
    text.append(choice?.delta?.content ?? "");
    known = chunk.navigator ?? choice?.navigator ?? known;
    if (innerHeight + scrollY > document.body.scrollHeight - 200) text.scrollIntoView({ block: "nearest" });
  }
  return known && { ...known, release: known.release ?? response.headers.get("X-Navigator-Release") };
}

/** What was found, and who answered. */
function about({ release, items, refused, retrieved, removed, templated, timings_ms: spent }) {
  const list = listOf(release, items ?? []);
  const total = Object.values(spent ?? {}).reduce((sum, one) => sum + one, 0);
  const notes = [
    refused && "The catalogue has nothing for this",
    removed > 0 && `${plural(removed, "sentence")} about other things left out`,
    !refused && (retrieved ? "Looked in the catalogue" : "Answered without looking in the catalogue"),
    templated && "worded from the titles, not by the model",
    release && `release ${release}`, total > 0 && ms(total),
  ].filter(Boolean).join(" · ");
  return [list.results.length ? grid(list.results.map((one) => card(one, list, usual(one, list))), "Found in the catalogue") : "",
    el("p", { className: "note", textContent: notes })];
}
