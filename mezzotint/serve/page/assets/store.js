// Images that were generated, kept in this browser over reloads: newest first, up to so many bytes.

const LIMIT_BYTES = 200 * 1024 * 1024;
let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("mezzotint", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("images", { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function inStore(mode, work) {
  const store = (await database()).transaction("images", mode).objectStore("images");
  const request = work(store);
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export async function allImages() {
  const found = await inStore("readonly", (store) => store.getAll());
  return found.sort((one, other) => other.made - one.made);
}

export async function keepImage(record) {
  await inStore("readwrite", (store) => store.put(record));
  let bytes = 0;
  for (const one of await allImages()) {
    bytes += one.blob.size;
    if (bytes > LIMIT_BYTES && one.id !== record.id) await forgetImage(one.id);
  }
}

export const forgetImage = (id) => inStore("readwrite", (store) => store.delete(id));
export const forgetAll = () => inStore("readwrite", (store) => store.clear());
export const hasImage = async (id) => (await inStore("readonly", (store) => store.count(id))) > 0;

// Jobs that this browser submitted, so that all its tabs and a reload know whose images to keep.
const MINE = "mezzotint-jobs";

export function mine() {
  try {
    return JSON.parse(localStorage.getItem(MINE) ?? "[]");
  } catch {
    return [];
  }
}

export function addMine(id) {
  localStorage.setItem(MINE, JSON.stringify([...mine().slice(-200), id]));
}
