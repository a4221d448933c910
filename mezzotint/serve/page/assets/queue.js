// Jobs that wait or run, of this browser and of others in the same queue.

import { ApiError, call } from "./api.js";
import { byId, element, tell } from "./dom.js";
import { keepJob } from "./gallery.js";
import { mine } from "./store.js";

const jobs = new Map(); // id to {view, card}
const ENDED = ["done", "failed", "cancelled"];
const WORDS = { generating: "Generating", decoding: "Finishing", loading: "Loading the model" };

// Brings the list to what the server says, after a connection: what it no longer knows is lost.
export async function refreshQueue() {
  const { jobs: known } = await call("GET", "/api/v1/jobs");
  const names = new Set(known.map((one) => one.id));
  for (const [id, { view }] of jobs) {
    if (!names.has(id) && !ENDED.includes(view.status)) {
      end({ ...view, status: "failed", reason: "The server was started again and no longer knows this job." });
    }
  }
  for (const view of known) {
    if (!ENDED.includes(view.status)) show(view);
    else if (jobs.has(view.id) || mine().includes(view.id)) await finish(view.id, view);
  }
}

export function show(view) {
  const known = jobs.get(view.id) ?? { card: makeCard(view), view };
  known.view = { ...known.view, ...view };
  if (!jobs.has(view.id)) {
    jobs.set(view.id, known);
    byId("queue").append(known.card.root);
  }
  draw(known);
}

function makeCard(view) {
  const preview = element("img", { className: "preview", alt: "", src: "/page/icon.svg" });
  const text = element("p", { className: "text", textContent: view.prompt || "(no prompt)" });
  const where = element("p", { className: "where" });
  const bar = element("progress", { max: 1, value: 0 });
  bar.setAttribute("aria-label", `Progress of ${view.prompt || "the image"}`);
  const cancel = element("button", { type: "button", className: "quiet", textContent: "Cancel" });
  cancel.setAttribute("aria-label", `Cancel ${view.prompt || "the image"}`);
  cancel.addEventListener("click", () => stop(view.id));
  const body = element("div", { className: "body" }, text, bar, where, element("div", { className: "buttons" }, cancel));
  return { root: element("li", { className: "job" }, preview, body), preview, where, bar, cancel };
}

function draw({ card, view }) {
  const { step = 0, steps = 0 } = view.progress ?? {};
  card.bar.value = steps ? step / steps : 0;
  card.where.textContent = whereabouts(view, step, steps);
  card.root.dataset.status = view.status;
  card.root.dataset.job = view.id;
  byId("queue-empty").hidden = jobs.size > 0;
}

function whereabouts(view, step, steps) {
  if (view.status === "failed") return view.reason ?? "It failed.";
  if (view.status === "queued") return view.queue_position > 1 ? `Number ${view.queue_position} in the queue` : "Next in the queue";
  const left = view.eta_s === null || view.eta_s === undefined ? "" : `, about ${Math.max(1, Math.round(view.eta_s))} s left`;
  return steps ? `${WORDS[view.status] ?? view.status}: step ${step} of ${steps}${left}` : `${WORDS[view.status] ?? view.status}…`;
}

async function stop(id) {
  try {
    await call("DELETE", `/api/v1/jobs/${id}`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    tell(error.message);
  }
}

export async function onEvent({ name, data }) {
  if (name === "queued" && !jobs.has(data.id)) {
    show(await call("GET", `/api/v1/jobs/${data.id}`).catch(() => data));
    return;
  }
  const known = jobs.get(data.id);
  if (ENDED.includes(name)) {
    await finish(data.id, null);
  } else if (known && name === "queued") {
    show({ id: data.id, queue_position: data.position, eta_s: data.eta_s ?? known.view.eta_s });
  } else if (known && (name === "loading" || name === "generating")) {
    show({ id: data.id, status: name, queue_position: 0 });
  } else if (known && name === "progress") {
    show({ id: data.id, status: "generating", progress: data, eta_s: data.eta_s });
  } else if (known && name === "decoding") {
    show({ id: data.id, status: "decoding" });
  } else if (known && name === "preview") {
    known.card.preview.src = `data:image/webp;base64,${data.webp}`;
    known.card.preview.alt = `Preview of ${known.view.prompt}`;
  }
}

async function finish(id, given) {
  const view = given ?? await call("GET", `/api/v1/jobs/${id}`).catch(() => null);
  if (view === null) return;
  if (view.status === "done" && mine().includes(id)) {
    const isNew = jobs.has(id);
    await keepJob(view);
    if (isNew) tell(view.images.length > 1 ? `${view.images.length} images are done.` : "The image is done.");
    for (const warning of view.warnings) tell(`Note: ${warning}`);
  }
  end(view);
}

function end(view) {
  const known = jobs.get(view.id);
  if (!known) return;
  if (view.status !== "failed") {
    remove(view.id);
    return;
  }
  known.view = { ...known.view, ...view };
  known.card.root.classList.add("failed");
  known.card.cancel.textContent = "Dismiss";
  known.card.cancel.setAttribute("aria-label", `Dismiss ${view.prompt}`);
  known.card.cancel.addEventListener("click", () => remove(view.id));
  known.card.cancel.replaceWith(known.card.cancel.cloneNode(true));
  known.card.root.querySelector("button").addEventListener("click", () => remove(view.id));
  draw(known);
  tell(view.reason ?? "The image failed.");
}

function remove(id) {
  jobs.get(id)?.card.root.remove();
  jobs.delete(id);
  byId("queue-empty").hidden = jobs.size > 0;
}
