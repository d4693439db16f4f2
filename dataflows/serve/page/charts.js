// Rates and latencies over the last minute, and each experiment's lift with its band narrowing.
import uPlot from "./vendor/uPlot.esm.js";
import { byId } from "./dom.js";

const HEIGHT = 120;
export const ARMS = ["--flow", "--warm", "--good", "--plum"];

// light-dark() is resolved on an element, not in a custom property.
function shade(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
const faint = (color) => color.replace("rgb(", "rgba(").replace(")", ", .16)");

const axes = (across, up) => [
  { stroke: shade("--soft"), grid: { show: false }, ticks: { show: false }, size: 24, values: (_, ticks) => ticks.map(across) },
  { stroke: shade("--soft"), grid: { stroke: shade("--line"), width: 1 }, ticks: { show: false }, size: 44, values: (_, ticks) => ticks.map(up) },
];

function chart(place, height, options, data) {
  const made = new uPlot({ width: place.clientWidth || 320, height, cursor: { show: false }, ...options }, data, place);
  new ResizeObserver(() => made.setSize({ width: place.clientWidth, height })).observe(place);
  return made;
}

const minutes = new Map();
export function drawMinute(id, picture, lines) {
  const data = [picture.seconds.map((_, k, all) => k - all.length + 1), ...lines.map(([, , values]) => values)];
  if (minutes.has(id)) return minutes.get(id).setData(data);
  const line = ([label, color], k) => ({ label, stroke: shade(color), fill: k ? undefined : faint(shade(color)), width: 2, spanGaps: true, points: { show: false } });
  minutes.set(id, chart(byId(id), HEIGHT, {
    legend: { show: true, live: false, markers: { width: 0, fill: (_, k) => shade(lines[k - 1][1]) } },
    axes: axes((at) => (at === 0 ? "now" : `${at} s`), (n) => n),
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(5, 1.1 * high)] } },
    series: [{}, ...lines.map(line)],
  }, data));
}

export function drawLifts(place, experiment) {
  const history = experiment.history.filter((point) => Object.values(point.lifts).some(([low, high]) => low !== null && high !== null));
  if (history.length < 2) return false;
  const names = Object.keys(history.at(-1).lifts);
  const bound = (name, k) => history.map((point) => clip(point.lifts[name]?.[k]));
  const colors = names.map((_, k) => shade(ARMS[k % ARMS.length]));
  const data = [history.map((point) => point.users), ...names.flatMap((name) => [bound(name, 0), bound(name, 1)])];
  chart(place, 180, {
    legend: { show: false },
    axes: axes((users) => `${users}`, (lift) => `${lift > 0 ? "+" : ""}${Math.round(100 * lift)}%`), scales: { x: { time: false } },
    series: [{}, ...names.flatMap((name, k) => ["low", "high"].map((end) => ({ label: `${name} ${end}`, stroke: colors[k], width: 1.5, points: { show: false } })))],
    bands: names.map((_, k) => ({ series: [2 * k + 2, 2 * k + 1], fill: faint(colors[k]) })),
  }, data);
  return true;
}

// Beyond these a band says only that nothing is known yet.
const clip = (lift) => (lift === null || lift === undefined ? null : Math.max(-1, Math.min(2, lift)));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const made of minutes.values()) made.destroy();
  minutes.clear();
});
