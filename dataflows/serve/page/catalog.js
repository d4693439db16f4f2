// Titles and categories of items, asked for once each.
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
export const find = async (query) => remember((await get("items", { query })).items);
