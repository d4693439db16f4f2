// Draws a slate; items that moved slide from where they were.
import { item, title } from "./catalog.js";
import { byId, calm, element } from "./dom.js";

const SOURCES = {
  session_knn: "like this visit", sequential_rules: "what comes next", two_step_rules: "two steps on",
  covisitation: "seen together", revisits: "seen before", trending: "trending", content: "similar", request: "given",
};
let places = new Map();

export function draw(slate, onAct) {
  const list = byId("slate");
  const tops = new Map([...list.children].map((row) => [row.dataset.item, row.getBoundingClientRect().top]));
  const rows = slate.items.map((entry) => row(entry, onAct));
  list.replaceChildren(...rows);
  if (!calm.matches) rows.forEach((each) => slide(each, tops.get(each.dataset.item)));
  places = new Map(slate.items.map((entry) => [entry.item_id, entry.position]));
  const arm = slate.variant ? ` · ${slate.experiment}: ${slate.variant}` : "";
  byId("made-by").textContent = `made by ${slate.model_version}${arm}`;
}

export function clear() {
  places = new Map();
  byId("slate").replaceChildren();
  byId("made-by").textContent = "";
}

function row(entry, onAct) {
  const before = places.get(entry.item_id);
  const moved = before === undefined ? undefined : before - entry.position;
  const name = title(entry.item_id);
  const act = (type, text, label) =>
    element("button", { type: "button", "aria-label": `${label}: ${name}`, onclick: () => onAct(entry, type) }, text);
  return element("li", { "data-item": entry.item_id, class: places.size && moved === undefined ? "new" : "" },
    element("span", { class: "place", "aria-hidden": "true" }, String(entry.position + 1)),
    element("span", { class: "title" }, name),
    element("span", { class: `move ${moved > 0 ? "up" : moved < 0 ? "down" : ""}` }, move(moved)),
    element("span", { class: "why" },
      element("span", { class: "chip" }, SOURCES[entry.source] ?? entry.source),
      entry.reason, element("small", {}, " ", (item(entry.item_id).categories ?? []).slice(0, 3).join(" · "))),
    element("span", { class: "buttons" }, act("click", "open", "open"), act("like", "♥", "like")));
}

function move(moved) {
  if (moved === undefined) return places.size ? "new" : "";
  return moved === 0 ? "" : moved > 0 ? `▲ ${moved}` : `▼ ${-moved}`;
}

function slide(row, from) {
  const to = row.getBoundingClientRect().top;
  const frames = from === undefined
    ? [{ opacity: 0, transform: "translateX(1rem)" }, { opacity: 1, transform: "none" }]
    : [{ transform: `translateY(${from - to}px)` }, { transform: "none" }];
  row.animate(frames, { duration: 350, easing: "ease-out" });
}
