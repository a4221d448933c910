// The image to start from: chosen, dropped, or taken from the gallery; and images that bring settings.

import { call } from "./api.js";
import { byId, readAsDataUrl, tell } from "./dom.js";
import { maskBlob, resetMask, startMask } from "./mask.js";

let image = null; // a data URL

export function startSource({ useSettings }) {
  startMask();
  byId("image-file").addEventListener("change", () => {
    const [file] = byId("image-file").files;
    if (file) setImage(file, false);
  });
  byId("image-remove").addEventListener("click", clearImage);
  byId("masked").addEventListener("change", showMask);
  const showStrength = () => { byId("strength-value").textContent = byId("strength").value; };
  byId("strength").addEventListener("input", showStrength);
  showStrength();
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      const isOver = name === "dragover";
      const isHere = byId("drop").contains(event.target);
      byId("drop").classList.toggle("over", isOver && isHere);
      document.body.classList.toggle("dropping", isOver && !isHere);
      if (name === "drop") dropped(event.dataTransfer.files[0], isHere, useSettings);
    });
  }
}

async function dropped(file, isSource, useSettings) {
  if (!file?.type.startsWith("image/")) return;
  if (isSource) {
    await setImage(file, false);
    return;
  }
  try {
    const found = await call("POST", "/api/v1/settings", { image: await readAsDataUrl(file) });
    const settings = found.settings ?? found.suggested;
    if (settings) {
      useSettings(settings, null);
      tell("The image's settings are in the form.");
    } else {
      await setImage(file, false);
    }
  } catch (error) {
    tell(error.message);
  }
}

export async function setImage(blob, isMasked) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    tell("This file is no image that the browser can read.");
    return;
  }
  image = await readAsDataUrl(blob);
  byId("source").src = image;
  resetMask(bitmap.width, bitmap.height);
  byId("from-image").open = true;
  byId("image-tools").hidden = false;
  byId("drop").hidden = true;
  byId("masked").checked = isMasked;
  showMask();
  byId("strength").focus({ preventScroll: true });
  byId("image-tools").scrollIntoView({ block: "nearest" });
}

function clearImage() {
  image = null;
  byId("image-file").value = "";
  byId("image-tools").hidden = true;
  byId("drop").hidden = false;
  byId("image-file").focus();
}

function showMask() {
  const isMasked = byId("masked").checked;
  byId("mask-tools").hidden = !isMasked;
  byId("mask").hidden = !isMasked;
}

// What a job says of its image; throws where a mask is wanted and nothing is painted.
export async function sourceFields() {
  if (image === null) return {};
  const fields = { image, strength: Number(byId("strength").value) };
  if (!byId("masked").checked) return fields;
  const blob = await maskBlob();
  if (blob === null) throw Object.assign(new Error("Paint over what is to be generated, or fill a rectangle."), { param: "mask" });
  return {
    ...fields,
    mask: await readAsDataUrl(blob),
    mask_blur: Number(byId("mask_blur").value),
    only_masked: byId("only_masked").checked,
  };
}
