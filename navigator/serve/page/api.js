// The server: JSON calls, the stream of a chat, the API key, and every way it can go wrong told in words.
import { byId, el } from "./dom.js";

export class Trouble extends Error {
  constructor(message, { status = 0, code = "", waitS = null } = {}) {
    super(message);
    const mayPass = [0, 401, 408, 429].includes(status) || status >= 500; // asking again could help
    Object.assign(this, { name: "Trouble", status, code, waitS, mayPass });
  }
}

const KEY = "navigator.key";
export const url = (path) => new URL(path.replace(/^\//, ""), document.baseURI);
export const key = () => sessionStorage.getItem(KEY);
export const forgetKey = () => { sessionStorage.removeItem(KEY); showKey(); };
const showKey = () => { byId("forget-key").hidden = key() === null; };
const authorised = () => (key() === null ? {} : { Authorization: `Bearer ${key()}` });

let asking = null;

/** Ask for an API key, once for all who need it now; resolves to whether one was given. */
function askKey(refused) {
  asking ??= new Promise((resolve) => {
    const field = el("input", { type: "password", name: "key", autocomplete: "off", required: true, id: "key" });
    const form = el("form", { method: "dialog" },
      el("h2", { textContent: "This server asks for an API key" }),
      el("p", { textContent: refused ? "That key was refused. Check it, or ask who runs the server for another."
        : "It is kept until this tab is closed and sent with each request." }),
      el("label", { htmlFor: "key", textContent: "API key" }), field,
      el("div", { className: "row" }, el("button", { className: "main", value: "ok", textContent: "Use this key" }),
        el("button", { value: "no", formNoValidate: true, textContent: "Not now" })));
    const dialog = el("dialog", { onclose: () => {
      const given = dialog.returnValue === "ok" && field.value.trim() !== "";
      if (given) sessionStorage.setItem(KEY, field.value.trim());
      dialog.remove();
      asking = null;
      showKey();
      resolve(given);
    } }, form);
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

/** The server's words as a sentence. */
const sentence = (said) => said && `${said[0].toUpperCase()}${said.slice(1)}${/[.!?]$/.test(said) ? "" : "."}`;

const SAID = {
  401: () => "This server answers only with an API key.",
  429: (said, code) => code === "too_often" ? sentence(`too many requests: ${said}`) : "The server has as much to do as it can take.",
  503: (said) => sentence(said) || "The server is starting or being replaced. It should be back in a moment.",
  504: () => "The server could not answer in time.",
};

/** The Trouble that an unhappy answer tells of. */
async function troubleOf(response) {
  const text = await response.text();
  let [said, code] = ["", ""];
  try {
    ({ message: said, code } = JSON.parse(text).error ?? {});
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error; // not the server's own words, a proxy's perhaps
  }
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const waitS = Number.isFinite(wait) ? Math.min(wait, 600) : null;
  const words = SAID[response.status]?.(said, code) ?? (sentence(said) || `The server answered with an error (${response.status}).`);
  return new Trouble(words, { status: response.status, code, waitS });
}

/** The answer to a request, or a Trouble; asks for a key where the server wants one, and then asks the server again. */
export async function ask(path, { body, timeoutMs = 30000, signal = null, headers = {} } = {}) {
  const limit = AbortSignal.timeout(timeoutMs);
  const options = {
    method: body === undefined ? "GET" : "POST",
    headers: { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers, ...authorised() },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  };
  const used = key();
  let response;
  try {
    response = await fetch(url(path), options);
  } catch (error) {
    throw lost(error, signal, timeoutMs);
  }
  if (response.ok) {
    const release = response.headers.get("X-Navigator-Release");
    if (release) byId("release").textContent = `Answered by release ${release}`;
    return response;
  }
  const sent = used !== null && used === key();
  if (response.status === 401 && ((used !== key()) || await askKey(sent))) return ask(path, { body, timeoutMs, signal, headers });
  throw await troubleOf(response);
}

/** What a failed fetch means to a person; leaving the view is not a trouble. */
export function lost(error, signal, timeoutMs) {
  if (signal?.aborted) return new DOMException("left", "AbortError");
  if (error.name === "TimeoutError") return new Trouble(`No answer after ${Math.round(timeoutMs / 1000)} seconds.`);
  if (error.name === "TypeError" || error.name === "NetworkError") {
    return new Trouble(window.navigator.onLine ? "The server cannot be reached. Is it running?" : "You are offline.");
  }
  return error;
}

/** A JSON answer; `X-Timeout-Ms` tells the server how long anybody waits. */
export async function call(path, options = {}) {
  const { timeoutMs = 30000, signal = null } = options;
  const response = await ask(path, { ...options, headers: { "X-Timeout-Ms": String(timeoutMs) } });
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof SyntaxError) throw new Trouble("The server's answer could not be read.");
    throw lost(error, signal, timeoutMs);
  }
}

/** The data of each server-sent event of an answer, parsed, until [DONE]; a silence of `idleMs` is a Trouble. */
export async function* streamed(response, idleMs = 60000) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  let complete = false; // after [DONE] the server closes; cancelling before would look like a failed request
  try {
    for (;;) {
      let timer;
      const silent = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Trouble("The answer stopped half-way.")), complete ? 1000 : idleMs);
      });
      const { value, done } = await Promise.race([reader.read(), silent]).finally(() => clearTimeout(timer));
      if (done && complete) return;
      if (done) throw new Trouble("The connection was lost before the answer was complete.");
      const lines = (kept + value).split(/\r?\n/);
      kept = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") complete = true;
        else yield JSON.parse(data);
      }
    }
  } catch (error) {
    if (!complete) throw error;
  } finally {
    reader.cancel().catch(() => {}); // already closed or aborted: nothing is left to stop
  }
}
