// The images of before, and the large view of one with what it was generated with.

import { byId, element, fillList, tell } from "./dom.js";
import { allImages, forgetAll, forgetImage, hasImage, keepImage } from "./store.js";
import { fetchBlob } from "./api.js";

const SHOWN = {
  seed: "Seed", steps: "Steps", guidance: "Guidance", scheduler: "Sampler", schedule: "Schedule", strength: "Strength",
  negative_prompt: "Negative", clip_skip: "Clip skip",
};
let urls = new Map();
let viewed = null;
let handlers = {};

// `useSettings(settings, model)`, `useImage(blob, masked)`.
export async function startGallery(given) {
  handlers = given;
  byId("gallery-clear").addEventListener("click", async () => {
    await forgetAll();
    await showGallery();
    tell("All images are forgotten.");
  });
  byId("viewer-close").addEventListener("click", () => byId("viewer").close());
  byId("viewer-settings-use").addEventListener("click", () => leave(() => handlers.useSettings(viewed.settings, viewed.model)));
  byId("viewer-image-use").addEventListener("click", () => leave(() => handlers.useImage(viewed.blob, false)));
  byId("viewer-inpaint").addEventListener("click", () => leave(() => handlers.useImage(viewed.blob, true)));
  byId("viewer-forget").addEventListener("click", () => leave(async () => {
    await forgetImage(viewed.id);
    await showGallery();
    byId("prompt").focus();
  }));
  await showGallery();
}

function leave(then) {
  byId("viewer").close();
  then();
}

// Fetches the images of a finished job, once in all tabs.
export async function keepJob(job) {
  for (const [index, image] of job.images.entries()) {
    const id = `${job.id}-${index}`;
    if (await hasImage(id)) continue;
    const blob = await fetchBlob(image.url);
    await keepImage({
      id, blob, made: Date.now() + index, model: job.model, settings: image.settings, width: image.width, height: image.height,
    });
  }
  await showGallery();
}

export async function showGallery() {
  const images = await allImages();
  const fresh = new Map(images.map((one) => [one.id, urls.get(one.id) ?? URL.createObjectURL(one.blob)]));
  for (const [id, url] of urls) if (!fresh.has(id)) URL.revokeObjectURL(url);
  urls = fresh;
  byId("gallery").replaceChildren(...images.map((one) => {
    const picture = element("img", { src: urls.get(one.id), alt: one.settings.prompt || "An image without a prompt", loading: "lazy" });
    const button = element("button", { type: "button" }, picture);
    button.addEventListener("click", () => view(one));
    return element("li", {}, button);
  }));
  byId("gallery-empty").hidden = images.length > 0;
  byId("gallery-clear").hidden = images.length === 0;
}

export function view(image) {
  viewed = image;
  const { settings } = image;
  Object.assign(byId("viewer-image"), { src: urls.get(image.id), alt: settings.prompt || "An image without a prompt" });
  byId("viewer-prompt").textContent = settings.prompt;
  const entries = Object.entries(SHOWN).filter(([name]) => settings[name]).map(([name, label]) => [label, settings[name]]);
  fillList(byId("viewer-settings"), [["Model", image.model], ["Size", `${image.width} × ${image.height}`], ...entries]);
  const kind = image.blob.type.split("/")[1] ?? "png";
  Object.assign(byId("viewer-download"), { href: urls.get(image.id), download: `${settings.seed}.${kind}` });
  byId("viewer").showModal();
}
