// A person's own picture: dropped, pasted or chosen, made small here before it is sent.
import { byId, el, toast } from "./dom.js";

const SIDE = 512; // pixels; encoders look at less
const BYTES = 50e6;
let taken = null;

/** From now on pictures go to `handler(dataUrl)`; null: nowhere. */
export function takePictures(handler) {
  taken = handler;
}

/** A picture file as a JPEG data URL of at most 512 pixels a side, on white; null, and said, where it is none. */
export async function shrink(file) {
  if (file.size > BYTES) return toast("That file is larger than 50 MB; take a smaller picture.");
  const img = new Image();
  img.src = URL.createObjectURL(file);
  try {
    await img.decode();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return toast("That is not a picture which this browser can read.");
  } finally {
    URL.revokeObjectURL(img.src);
  }
  const [width, height] = [img.naturalWidth || SIDE, img.naturalHeight || SIDE];
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const canvas = el("canvas", { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  const paper = canvas.getContext("2d");
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(img, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.85);
}

async function take(file) {
  const data = await shrink(file);
  if (data) taken?.(data);
}

/** The browser's choice of files. */
export function choose() {
  const input = el("input", { type: "file", accept: "image/*", onchange: () => input.files[0] && take(input.files[0]) });
  input.click();
}

// A picture may be dropped or pasted anywhere on the page.
const cover = byId("drop");
const carries = (event) => taken && event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  cover.hidden = false;
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) cover.hidden = true; });
addEventListener("drop", (event) => {
  cover.hidden = true;
  if (!carries(event)) return;
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (!file || !taken) return;
  event.preventDefault();
  take(file);
});
