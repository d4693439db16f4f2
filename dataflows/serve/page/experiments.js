// What each experiment says: who is shown what, and how sure it is that it works.
import { ARMS, drawLifts } from "./charts.js";
import { byId, element, redraw } from "./dom.js";

const percent = (x) => (x === null || x === undefined ? "–" : `${(100 * x).toFixed(1)}%`);
const signed = (x) => `${x > 0 ? "+" : ""}${Math.round(100 * x)}%`;
const known = (pair) => pair && pair[0] !== null && pair[1] !== null;

export function draw(experiments) {
  if (!experiments.length) return;
  redraw(byId("experiments"), experiments, () => experiments.map(box));
  for (const chart of document.querySelectorAll("#experiments .chart:empty")) {
    const experiment = experiments.find(({ experiment: name }) => name === chart.dataset.experiment);
    if (experiment && !drawLifts(chart, experiment)) chart.textContent = "the band of the lift is drawn once every variant has users enough";
  }
}

function box(experiment) {
  const head = ["variant", "users", "traffic", experiment.goal.replaceAll("_", " "), `lift, ${percent(1 - experiment.alpha)} sure at any look`];
  return element("section", { "aria-label": experiment.experiment },
    element("h3", {}, experiment.experiment,
      element("span", { class: "pill", "data-verdict": experiment.verdict }, experiment.verdict)),
    element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `figures of ${experiment.experiment}` }, element("table", {},
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...experiment.variants.map(row)))),
    experiment.note ? element("p", { class: "said" }, experiment.note) : null,
    element("div", {
      class: "chart", role: "img", "data-experiment": experiment.experiment,
      "aria-label": `lift of ${experiment.goal} by users so far, with its bounds`,
    }),
    element("p", { class: "axis" }, "lift over the control, by users so far: a band above or below 0% is an answer"));
}

function row({ variant, users, traffic, goal }, k) {
  const color = k === 0 ? "--soft" : ARMS[(k - 1) % ARMS.length];
  return element("tr", {},
    element("th", { scope: "row" }, element("i", { class: "dot", style: `background:var(${color})` }), variant),
    element("td", {}, String(users)),
    element("td", {}, element("i", { class: "share", style: `width:${2.5 * (traffic ?? 0)}rem` }), percent(traffic)),
    element("td", {}, goal ? String(Number(goal.value.toPrecision(3))) : "–"),
    element("td", {}, k === 0 ? "control" : known(goal?.lift) ? `${signed(goal.lift[0])} to ${signed(goal.lift[1])}` : "not known yet"));
}
