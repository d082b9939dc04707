// Building the page from data: text is always text, never markup, because titles come from catalogues.

/** An element; properties by name, attributes where there is no such property, listeners as onclick and the like. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** A heading that can take the focus when its view opens. */
export const heading = (text) => el("h1", { textContent: text, tabIndex: -1 });

/** The part of an address after #, such as #item=a. */
export const to = (view, value = "") => `#${new URLSearchParams({ [view]: value })}`;

/** Say something to people who listen instead of looking. */
export function announce(text) {
  byId("live").textContent = text;
}

let hiding = 0;

/** A line at the bottom for a few seconds; `action` is [label, function], such as an undo. */
export function toast(text, action = null) {
  const box = byId("toast");
  const close = () => { box.hidden = true; };
  const button = action && el("button", { type: "button", textContent: action[0], onclick: () => { close(); action[1](); } });
  box.replaceChildren(el("span", { textContent: text }), ...(button ? [button] : []));
  box.hidden = false;
  announce(text);
  clearTimeout(hiding);
  hiding = setTimeout(close, action ? 10000 : 4000);
}

/** What went wrong, in words, with a way to try again; where the server said when, not before. */
export function trouble(error, again) {
  const told = el("div", { className: "trouble", role: "alert" }, el("p", { textContent: error.message }));
  if (error.mayPass === false) return told; // the same question gets the same answer
  const button = el("button", { type: "button", onclick: again });
  let left = error.waitS ?? 0;
  const count = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left-- > 0) setTimeout(count, 1000);
  };
  count();
  told.append(button);
  return told;
}

/** Run `work`; while it runs `place` shows `waiting`, afterwards what it returned or what went wrong. */
export async function fill(place, waiting, work) {
  place.replaceChildren(...waiting);
  place.setAttribute("aria-busy", "true");
  try {
    place.replaceChildren(...await work());
  } catch (error) {
    if (error.name === "AbortError") return; // the view was left
    if (error.name !== "Trouble") throw error;
    place.replaceChildren(trouble(error, () => fill(place, waiting, work)));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** 1st, 2nd, 3rd, 4th, 11th, 21st. */
export function ordinal(n) {
  const tail = n % 100 >= 11 && n % 100 <= 13 ? 0 : n % 10;
  return `${n.toLocaleString("en")}${["th", "st", "nd", "rd"][tail] ?? "th"}`;
}

/** Milliseconds and US$ as people read them; a dash for what was not measured. */
export const ms = (value) => value === null || value === undefined ? "–"
  : value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value >= 10 ? Math.round(value) : value.toPrecision(2)} ms`;
export const usd = (value) => value === null || value === undefined ? "–"
  : value === 0 ? "US$ 0" : `US$ ${value >= 1 ? value.toFixed(2) : value.toPrecision(2)}`;
