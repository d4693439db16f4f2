// Draws a slate; items that moved slide from where they were.
import { categories, hue, stars, title } from "./catalog.js";
import { byId, calm, element } from "./dom.js";

const SOURCES = {
  session_knn: "like this visit", sequential_rules: "what comes next", two_step_rules: "two steps on",
  covisitation: "seen together", revisits: "seen before", habits: "another time", trending: "trending", content: "similar", request: "given",
  cold: "new",
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
  const id = entry.item_id, name = title(id), before = places.get(id);
  const moved = before === undefined ? undefined : before - entry.position;
  const kind = before === undefined ? (places.size ? "new" : "") : moved > 0 ? "up" : moved < 0 ? "down" : "";
  return element("li", { "data-item": id, class: kind, style: `--hue:${hue(id)}` },
    element("span", { class: "place", "aria-hidden": "true" }, String(entry.position + 1)),
    element("span", { class: "what" },
      element("button", { type: "button", class: "title", "aria-label": `open ${name}`, onclick: () => onAct(entry, "click") }, name),
      element("small", {}, categories(id))),
    element("span", { class: "move" }, move(moved)),
    element("span", { class: "why" },
      element("span", { class: "chip", "data-source": entry.source }, SOURCES[entry.source] ?? entry.source), entry.reason),
    stars(id, (n) => onAct(entry, "rating", n)));
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
  row.animate(frames, { duration: 450, easing: "cubic-bezier(.2, .8, .2, 1)" });
}
