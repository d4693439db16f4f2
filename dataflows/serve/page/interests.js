// Interests by category from what the page has seen a user do: the moment beside the habit, decayed as profiles decay.
import { item } from "./catalog.js";
import { byId, element } from "./dom.js";

const MOMENT_S = 1_800, HABIT_S = 14 * 86_400, SHOWN = 6;
const liking = (act) => (act.value === undefined || act.value === null ? 1 : Math.max(0, (act.value - 2) / 2));

export function draw(acts) {
  const now = Date.now() / 1_000, weights = new Map();
  for (const act of acts) {
    for (const category of item(act.item_id).categories ?? []) {
      const sums = weights.get(category) ?? [0, 0];
      [MOMENT_S, HABIT_S].forEach((half, k) => { sums[k] += liking(act) * 2 ** ((act.at / 1_000 - now) / half); });
      weights.set(category, sums);
    }
  }
  const rows = [...weights].sort((a, b) => b[1][0] - a[1][0]).slice(0, SHOWN);
  const most = Math.max(1, ...rows.flatMap(([, sums]) => sums));
  byId("interests").replaceChildren(...rows.map(([name, sums]) => element("div", {},
    element("span", { title: name }, name),
    element("div", { class: "bars", role: "img", "aria-label": `${name}: moment ${sums[0].toFixed(1)}, habit ${sums[1].toFixed(1)}` },
      ...sums.map((sum) => element("i", { style: `width:${(100 * sum) / most}%` }))))));
  if (!rows.length) byId("interests").append(element("p", { class: "said" }, "nothing yet"));
}
