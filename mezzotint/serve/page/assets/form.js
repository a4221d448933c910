// The form: what to generate, with each model's own defaults, kept over reloads.

import { call } from "./api.js";
import { byId, fillSelect, tell } from "./dom.js";

const KEPT = ["prompt", "negative_prompt", "steps", "guidance", "count", "scheduler", "schedule", "width", "height", "seed", "model"];
const NUMBERS = ["steps", "guidance", "count", "width", "height"];
const SHAPES = [["Square", 1, 1], ["Portrait 2:3", 2, 3], ["Portrait 3:4", 3, 4], ["Landscape 3:2", 3, 2], ["Landscape 4:3", 4, 3]];
const MEMORY = "mezzotint-form";
let server = null;
let lastSeed = null;

export const model = () => server.models.find((one) => one.id === byId("model").value);

export function startForm(capabilities) {
  server = capabilities;
  fillSelect(byId("model"), server.models.map((one) => [one.id, one.id]), byId("model").value || server.default_model);
  fillSelect(byId("schedule"), [["", "Default"], ...server.schedules.map((name) => [name, name])]);
  byId("count").max = server.limits.images;
  byId("steps").max = server.limits.steps;
  restore();
  showModel();
  for (const [id, work] of [["model", showModel], ["preset", takePreset], ["width", showPreset], ["height", showPreset]]) {
    byId(id).addEventListener("change", work);
  }
  byId("swap").addEventListener("click", () => {
    [byId("width").value, byId("height").value] = [byId("height").value, byId("width").value];
    showPreset();
  });
  byId("seed-random").addEventListener("click", () => { byId("seed").value = ""; });
  byId("seed-last").addEventListener("click", () => { byId("seed").value = lastSeed; });
  let counting = 0;
  byId("prompt").addEventListener("input", () => {
    clearTimeout(counting);
    counting = setTimeout(countTokens, 250);
  });
  byId("form").addEventListener("change", remember);
  byId("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
  });
  byId("settings").open = !matchMedia("(max-width: 860px)").matches; // on a phone the images come first
  countTokens();
}

export function setLastSeed(seed) {
  lastSeed = String(seed);
  byId("seed-last").disabled = false;
}

// The settings part of a job.
export function fields() {
  const given = { prompt: byId("prompt").value, model: byId("model").value };
  if (byId("negative_prompt").value.trim()) given.negative_prompt = byId("negative_prompt").value;
  for (const name of NUMBERS) {
    if (byId(name).value !== "") given[name] = Number(byId(name).value);
  }
  for (const name of ["scheduler", "schedule"]) if (byId(name).value) given[name] = byId(name).value;
  const seed = byId("seed").value.trim();
  if (seed && !/^\d{1,15}$/.test(seed)) {
    throw Object.assign(new Error("The seed is a whole number, or empty for a random one."), { param: "seed" });
  }
  if (seed) given.seed = Number(seed);
  if (byId("weighted").checked) given.prompt_syntax = "weighted";
  return given;
}

export function showError(error) {
  const line = byId("error");
  for (const field of byId("form").querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  line.hidden = error === null;
  if (error === null) return;
  line.textContent = error.message;
  const field = error.param && byId(error.param);
  if (field instanceof HTMLElement && byId("form").contains(field)) {
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
}

// Settings of an image into the form.
export function useSettings(settings, from) {
  if (from && server.models.some((one) => one.id === from)) byId("model").value = from;
  showModel();
  for (const name of ["prompt", "steps", "guidance", "width", "height", "seed"]) {
    if (settings[name] !== null && settings[name] !== undefined) byId(name).value = settings[name];
  }
  byId("negative_prompt").value = settings.negative_prompt ?? "";
  byId("scheduler").value = settings.scheduler ?? "";
  byId("schedule").value = settings.schedule ?? "";
  byId("weighted").checked = settings.prompt_syntax === "weighted";
  showPreset();
  countTokens();
  remember();
  byId("prompt").focus();
}

// What the chosen model has: its samplers, defaults and sizes.
function showModel() {
  const { samplers, defaults, size } = model();
  fillSelect(byId("scheduler"), [["", `Default${defaults.scheduler ? ` (${defaults.scheduler})` : ""}`], ...samplers.map((name) => [name, name])]);
  byId("steps").placeholder = defaults.steps;
  byId("guidance").placeholder = defaults.guidance;
  for (const name of ["width", "height"]) {
    Object.assign(byId(name), {
      placeholder: size.native,
      step: size.multiple_of,
      min: Math.ceil(size.native * server.limits.least_scale),
      max: Math.floor(size.native * server.limits.most_scale),
    });
  }
  fillSelect(byId("preset"), [["", "Custom"], ...presets()], "");
  showPreset();
  countTokens();
}

function presets() {
  const { native, multiple_of: factor } = model().size;
  return SHAPES.map(([name, across, down]) => {
    const scale = native / Math.max(across, down);
    const [width, height] = [across, down].map((side) => Math.max(factor, Math.round((side * scale) / factor) * factor));
    return [`${width}x${height}`, `${name}, ${width} × ${height}`];
  });
}

function takePreset() {
  const [width, height] = byId("preset").value.split("x");
  if (height === undefined) return;
  byId("width").value = width;
  byId("height").value = height;
}

function showPreset() {
  const { native } = model().size;
  const size = `${byId("width").value || native}x${byId("height").value || native}`;
  byId("preset").value = [...byId("preset").options].some((option) => option.value === size) ? size : "";
}

async function countTokens() {
  const line = byId("tokens");
  const prompt = byId("prompt").value;
  if (!prompt.trim()) {
    line.textContent = "";
    return;
  }
  try {
    const { tokens, window } = await call("POST", "/api/v1/tokens", { prompt, model: byId("model").value });
    if (byId("prompt").value !== prompt) return;
    const windows = Math.max(1, Math.ceil(tokens / window));
    const isCut = tokens > window && !byId("weighted").checked;
    line.classList.toggle("over", isCut);
    line.textContent = `${tokens} of ${window * windows} tokens${isCut ? ", the end is cut" : windows > 1 ? `, ${windows} windows` : ""}`;
  } catch {
    line.textContent = "";
  }
}

function remember() {
  const values = Object.fromEntries(KEPT.map((id) => [id, byId(id).value]));
  localStorage.setItem(MEMORY, JSON.stringify(values));
}

function restore() {
  try {
    const values = JSON.parse(localStorage.getItem(MEMORY) ?? "{}");
    const { model: name, ...rest } = values;
    if (server.models.some((one) => one.id === name)) byId("model").value = name;
    fillSelect(byId("scheduler"), [["", ""], ...model().samplers.map((one) => [one, one])]);
    for (const [id, value] of Object.entries(rest)) if (KEPT.includes(id)) byId(id).value = value;
  } catch {
    tell("The form of before could not be read.");
  }
}
