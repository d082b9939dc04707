// The page: which view an address shows, what is in the footer, and keys that work everywhere.
import { forgetKey, key } from "./api.js";
import { byId, el, toast, trouble } from "./dom.js";
import * as search from "./search.js";

const VIEWS = {
  search: async () => search, picture: async () => search, item: async () => search,
  boards: () => import("./boards.js"), board: () => import("./boards.js"),
  chat: () => import("./chat.js"), compare: () => import("./compare.js"),
};
const TABS = { picture: "search", item: "search", board: "boards" };
const scrolled = new Map(); // address -> how far down
let leaving = new AbortController();
let shown = null;
history.scrollRestoration = "manual";

/** The view and its value in an address such as #search=red+car. */
function address() {
  const [[view, value] = ["search", ""]] = new URLSearchParams(location.hash.slice(1));
  return VIEWS[view] ? [view, value] : ["search", ""];
}

/** A part of the page did not come: the line was lost, or the server was replaced. */
function lost(error) {
  if (error.name !== "TypeError") throw error;
  byId("main").replaceChildren(trouble(new Error("This part of the page could not be loaded."), () => location.reload()));
}

const chooser = () => el("button", { type: "button", textContent: "Picture", title: "Choose a picture; dropping or pasting one works too",
  onclick: async () => (await import("./picture.js")).choose() });

async function route() {
  const [view, value] = address();
  const first = shown === null;
  if (!first) scrolled.set(shown, scrollY);
  shown = location.hash;
  leaving.abort();
  const mine = leaving = new AbortController();
  for (const tab of document.querySelectorAll("nav a")) {
    if (tab.dataset.view === (TABS[view] ?? view)) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  const module = await VIEWS[view]().catch(lost);
  if (!module || mine.signal.aborted) return; // another address came meanwhile
  const done = module.show(byId("main"), view, value, { signal: mine.signal, chooser: chooser() });
  import("./picture.js").then((pictures) => pictures.takePictures(module.takePicture ?? search.byPicture));
  document.title = [value && view === "search" ? value : "", "Navigator"].filter(Boolean).join(" · ");
  if (!first && view !== "chat") byId("main").querySelector("h1")?.focus({ preventScroll: true });
  await done;
  if (!mine.signal.aborted) scrollTo(0, scrolled.get(location.hash) ?? 0);
}

addEventListener("hashchange", route);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // an address of its own would be taken for a view
  byId("main").focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select, dialog")) return;
  const field = document.querySelector("main input[type=search], main textarea");
  if (!field) return;
  event.preventDefault();
  field.focus();
});

import("./events.js").then(({ counting, setCounting }) => {
  const box = byId("events");
  Object.assign(box, { checked: counting(), disabled: false }); // until here it could not show how it stands
  box.addEventListener("change", () => {
    setCounting(box.checked);
    toast(box.checked ? "Thank you: what you see, open and save is counted." : "Nothing is counted any more.");
  });
});
byId("forget-key").hidden = key() === null;
byId("forget-key").addEventListener("click", forgetKey);
byId("forget").addEventListener("click", () => {
  localStorage.clear();
  sessionStorage.clear();
  location.replace("./");
});
await route();
