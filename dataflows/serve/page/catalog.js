// Titles and categories of items, asked for once each; and how an item is offered to be opened and rated.
import { element } from "./dom.js";
import { get } from "./http.js";

const known = new Map();

export function remember(items) {
  for (const item of items) known.set(item.item_id, item);
  return items;
}

export async function load(ids) {
  const missing = [...new Set(ids)].filter((id) => !known.has(id));
  if (missing.length) remember((await get("items", { id: missing })).items);
  for (const id of missing) if (!known.has(id)) known.set(id, { item_id: id, title: id, categories: [] });
}

export const item = (id) => known.get(id) ?? { item_id: id, title: id, categories: [] };
export const title = (id) => item(id).title || id;
export const categories = (id) => (item(id).categories ?? []).slice(0, 3).join(" · ");
export const find = async (query) => remember((await get("items", { query })).items);

// Of each item's first category, so that a slate shows at a glance how mixed it is.
export function hue(id) {
  const name = item(id).categories?.[0] ?? id;
  return [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}

// Five stars, each a button: onRate gets 1 to 5.
export function stars(id, onRate) {
  const buttons = [1, 2, 3, 4, 5].map((n) => element("button", {
    type: "button", "aria-label": `rate ${title(id)} ${n} of 5`, title: `${n} of 5`, onclick: () => onRate(n),
  }, "★"));
  return element("span", { class: "stars", role: "group", "aria-label": `rate ${title(id)}` }, ...buttons);
}
