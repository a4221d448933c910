// The page's start: what the server can do, then the form, the queue and the gallery, and one stream of events.

import { ApiError, call, follow } from "./api.js";
import { byId, element, fillList, tell } from "./dom.js";
import { fields, model, setLastSeed, showError, startForm, useSettings } from "./form.js";
import { startGallery } from "./gallery.js";
import { onEvent, refreshQueue, show } from "./queue.js";
import { setImage, sourceFields, startSource } from "./source.js";
import { addMine } from "./store.js";

const states = new Map();
let isStarted = false;

async function start() {
  const capabilities = await withKey(() => call("GET", "/api/v1/capabilities"));
  document.title = capabilities.name === "mezzotint" ? "Mezzotint" : capabilities.name;
  for (const one of capabilities.models) states.set(one.id, one.state);
  startForm(capabilities);
  startSource({ useSettings });
  await startGallery({ useSettings, useImage: setImage });
  byId("form").addEventListener("submit", submit);
  byId("model").addEventListener("change", showState);
  startAbout();
  showState();
  isStarted = true;
  follow({
    async onConnect() {
      setConnection("live", "connected");
      const fresh = await call("GET", "/api/v1/capabilities");
      for (const one of fresh.models) states.set(one.id, one.state);
      showState();
      await refreshQueue();
    },
    onEvent(event) {
      if (event.name === "model") {
        states.set(event.data.id, event.data.state);
        showState();
      } else if (event.name === "shutdown") {
        tell("The server is stopping.");
      } else {
        onEvent(event).catch((error) => tell(error.message));
      }
    },
    async onAway(error) {
      setConnection("away", "connecting");
      if (error?.status === 401) await withKey(() => call("GET", "/api/v1/capabilities"));
    },
  });
}

async function submit(event) {
  event.preventDefault();
  showError(null);
  byId("generate").disabled = true;
  try {
    const asked = { ...fields(), ...await sourceFields() };
    const job = await withKey(() => call("POST", "/api/v1/jobs", asked));
    addMine(job.id);
    setLastSeed(job.seed);
    show(job);
    document.querySelector(`[data-job="${job.id}"]`)?.scrollIntoView({ block: "nearest" });
  } catch (error) {
    showError(error);
  } finally {
    byId("generate").disabled = false;
  }
}

// Does the work; asks for a key as long as it is refused for want of one.
async function withKey(work) {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) await askForKey();
      else if (error.status === 0 && !isStarted) await new Promise((resolve) => setTimeout(resolve, 1000));
      else throw error;
    }
  }
}

function askForKey() {
  const dialog = byId("key");
  if (!dialog.open) dialog.showModal();
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  return new Promise((resolve) => {
    byId("key-form").onsubmit = async (event) => {
      event.preventDefault();
      try {
        await call("POST", "/session", { key: byId("key-value").value });
      } catch (error) {
        byId("key-error").textContent = error.status === 401 ? "The server does not know this key." : error.message;
        byId("key-error").hidden = false;
        byId("key-value").select();
        return;
      }
      byId("key-error").hidden = true;
      byId("key-value").value = "";
      dialog.close();
      resolve();
    };
  });
}

function setConnection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = text;
}

function showState() {
  const state = states.get(byId("model").value) ?? "asleep";
  byId("model-state").textContent = state;
  byId("model-state").dataset.state = state;
}

function startAbout() {
  byId("model-about").addEventListener("click", () => {
    const { id, family, size, fidelity, file_bytes: bytes } = model();
    byId("about-title").textContent = id;
    const megabytes = `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
    const samples = fidelity.calibration?.prompts;
    fillList(byId("about-list"), [
      ["Family", family], ["Source", fidelity.source], ["Recipe", `${fidelity.recipe} for ${fidelity.target}`],
      ["Native size", `${size.native} × ${size.native}`], ["On disk", megabytes],
      ...(samples ? [["Calibrated on", `${samples} prompts`]] : []),
    ]);
    byId("about-components").replaceChildren(...Object.entries(fidelity.components).map(([name, one]) => {
      const figure = one.is_identical ? "identical" : one.sqnr_db === null ? "not checked" : `${one.sqnr_db.toFixed(1)} dB`;
      return element("tr", {}, ...[name, one.storage, one.compute, figure].map((text) => element("td", { textContent: text })));
    }));
    byId("about").showModal();
  });
  byId("about-close").addEventListener("click", () => byId("about").close());
  for (const verb of ["load", "unload"]) {
    byId(`about-${verb}`).addEventListener("click", async () => {
      byId("about").close();
      await call("POST", `/api/v1/models/${encodeURIComponent(model().id)}/${verb}`).catch((error) => tell(error.message));
    });
  }
}

start().catch((error) => tell(error.message));
