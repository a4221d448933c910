// The mask over the image to start from: white where it is generated anew. Painted with a pointer, or set by numbers.

import { byId } from "./dom.js";

const canvas = byId("mask");
const context = canvas.getContext("2d", { willReadFrequently: true });
const STEPS_BACK = 20;
let history = [];
let last = null;
let size = [1, 1]; // of the image

export function startMask() {
  canvas.addEventListener("pointerdown", (event) => {
    if (!byId("masked").checked) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    last = place(event);
    stroke(last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    stroke(place(event));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { last = null; });
  byId("mask-undo").addEventListener("click", () => {
    const before = history.pop();
    if (before) context.putImageData(before, 0, 0);
  });
  byId("mask-clear").addEventListener("click", () => { remember(); fill(0, 0, canvas.width, canvas.height, true); });
  byId("mask-invert").addEventListener("click", () => { remember(); invert(); });
  byId("rect-add").addEventListener("click", () => {
    const [x, y, w, h] = ["rect-x", "rect-y", "rect-w", "rect-h"].map((id) => Number(byId(id).value) / 100);
    remember();
    fill(x * canvas.width, y * canvas.height, w * canvas.width, h * canvas.height, byId("erase").checked);
  });
  byId("mask-file").addEventListener("change", async () => {
    const [file] = byId("mask-file").files;
    if (!file) return;
    const bitmap = await createImageBitmap(file);
    remember();
    context.globalCompositeOperation = "source-over";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    fromGrey();
  });
}

// A new image: the mask has its proportions, and at least a size that can be painted on.
export function resetMask(width, height) {
  size = [width, height];
  const scale = Math.max(1, Math.ceil(512 / Math.max(width, height)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  history = [];
}

// A PNG, white on black, of the image's own size; null where nothing is painted.
export async function maskBlob() {
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  if (!pixels.some((value, index) => index % 4 === 3 && value > 127)) return null;
  const sheet = new OffscreenCanvas(...size);
  const drawn = sheet.getContext("2d");
  drawn.fillStyle = "black";
  drawn.fillRect(0, 0, ...size);
  drawn.imageSmoothingEnabled = false;
  drawn.drawImage(canvas, 0, 0, ...size);
  return sheet.convertToBlob({ type: "image/png" });
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
}

function stroke(to) {
  const box = canvas.getBoundingClientRect();
  context.globalCompositeOperation = byId("erase").checked ? "destination-out" : "source-over";
  Object.assign(context, { strokeStyle: "white", lineCap: "round", lineJoin: "round" });
  context.lineWidth = Number(byId("brush").value) * (canvas.width / box.width);
  context.beginPath();
  context.moveTo(...last);
  context.lineTo(...to);
  context.stroke();
  last = to;
}

function fill(x, y, width, height, isErased) {
  context.globalCompositeOperation = isErased ? "destination-out" : "source-over";
  context.fillStyle = "white";
  context.fillRect(x, y, width, height);
}

function remember() {
  history = [...history.slice(-STEPS_BACK), context.getImageData(0, 0, canvas.width, canvas.height)];
}

function invert() {
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < image.data.length; at += 4) {
    image.data.fill(255, at, at + 3);
    image.data[at + 3] = 255 - image.data[at + 3];
  }
  context.putImageData(image, 0, 0);
}

function fromGrey() {
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < image.data.length; at += 4) {
    const grey = (image.data[at] + image.data[at + 1] + image.data[at + 2]) / 3;
    image.data.fill(255, at, at + 3);
    image.data[at + 3] = grey >= 128 ? 255 : 0;
  }
  context.putImageData(image, 0, 0);
}
