// Rates over the last minute, and each experiment's lift with its band narrowing.
import uPlot from "./vendor/uPlot.esm.js";
import { byId } from "./dom.js";

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// light-dark() is resolved on an element, not in a custom property.
function shade(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = color(name);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
const axes = (format) => [
  { stroke: shade("--soft"), grid: { show: false }, size: 26 },
  { stroke: shade("--soft"), grid: { stroke: shade("--line"), width: 1 }, size: 48, values: format },
];

let rates;
export function drawRates(picture) {
  const data = [picture.seconds, picture.events, picture.slates];
  const place = byId("rates");
  if (!rates) {
    rates = new uPlot({
      width: place.clientWidth, height: 130, cursor: { show: false }, legend: { show: true, live: false },
      axes: axes(), scales: { y: { range: (_, low, high) => [0, Math.max(5, high)] } },
      series: [{}, { label: "events/s", stroke: shade("--flow"), width: 2 }, { label: "slates/s", stroke: shade("--warm"), width: 2 }],
    }, data, place);
    new ResizeObserver(() => rates.setSize({ width: place.clientWidth, height: 130 })).observe(place);
  } else rates.setData(data);
}

export function drawLifts(place, experiment) {
  const history = experiment.history.filter((point) => Object.values(point.lifts).some(([low, high]) => low !== null && high !== null));
  if (history.length < 2) return;
  const names = Object.keys(history.at(-1).lifts);
  const bound = (name, k) => history.map((point) => clip(point.lifts[name]?.[k]));
  const colors = ["--flow", "--warm", "--good", "--bad"].map(shade);
  const data = [history.map((point) => point.users), ...names.flatMap((name) => [bound(name, 0), bound(name, 1)])];
  new uPlot({
    width: place.clientWidth || 320, height: 150, cursor: { show: false }, legend: { show: false },
    axes: axes((_, ticks) => ticks.map((tick) => `${Math.round(100 * tick)}%`)), scales: { x: { time: false } },
    series: [{}, ...names.flatMap((name, k) => ["low", "high"].map((end) => ({ label: `${name} ${end}`, stroke: colors[k % 4], width: 1 })))],
    bands: names.map((_, k) => ({ series: [2 * k + 2, 2 * k + 1], fill: colors[k % 4].replace("rgb(", "rgba(").replace(")", ", .15)") })),
  }, data, place);
}

const clip = (lift) => (lift === null || lift === undefined ? null : Math.max(-1, Math.min(2, lift)));
