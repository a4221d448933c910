// Small things that every module needs of the document. Text from anywhere is only ever set as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function fillSelect(select, choices, chosen = select.value) {
  select.replaceChildren(...choices.map(([value, label]) => element("option", { value, textContent: label })));
  select.value = choices.some(([value]) => value === chosen) ? chosen : choices[0]?.[0] ?? "";
}

export function fillList(list, entries) {
  list.replaceChildren(
    ...entries.flatMap(([name, value]) => [
      element("dt", { textContent: name }),
      element("dd", { textContent: String(value) }),
    ]),
  );
}

let clearing = 0;

export function tell(sentence) {
  byId("status").textContent = sentence;
  clearTimeout(clearing);
  clearing = setTimeout(() => { byId("status").textContent = ""; }, 6000);
}

export function readAsDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
