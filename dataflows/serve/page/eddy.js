// The live page: be a user, and watch the stream.
import * as catalog from "./catalog.js";
import { drawLifts, drawRates } from "./charts.js";
import { byId, element } from "./dom.js";
import { follow, get, post, userPath } from "./http.js";
import * as interests from "./interests.js";
import * as slates from "./slate.js";

const MOST_ACTS = 40;
const state = { user: "", acts: [], asked: null, stop: () => {}, seen: new Set() };

const say = (text) => { byId("said").textContent = text; };
const someone = () => `visitor-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;

function be(user) {
  state.stop();
  Object.assign(state, { user, acts: [], asked: null, seen: new Set() });
  byId("user").value = user;
  byId("took").textContent = "";
  slates.clear();
  drawActs();
  say("Open something on the left: the slate follows.");
  state.stop = follow(userPath(user, "stream"), {}, {
    slate: show,
    erased: () => { slates.clear(); say("This user was erased."); },
  });
  history.replaceState(null, "", `#${encodeURIComponent(user)}`);
}

async function act(itemId, type, entry, slateId) {
  const event = {
    event_id: crypto.randomUUID?.() ?? someone(), user_id: state.user, item_id: itemId, event_type: type,
    timestamp: Date.now(), recommendation_id: slateId, position: entry?.position,
  };
  state.asked = { id: event.event_id, at: performance.now() };
  noteAct({ item_id: itemId, type, at: event.timestamp });
  try {
    await post("events", event);
  } catch (error) {
    say(`Not taken: ${error.message}`);
  }
}

async function show(slate) {
  const arrived = performance.now();
  if (state.asked?.id === slate.trigger_id) {
    const took = Math.round(arrived - state.asked.at);
    byId("took").textContent = `${took} ms`;
    state.asked = null;
  }
  await catalog.load(slate.items.map((entry) => entry.item_id));
  slates.draw(slate, (entry, type) => act(entry.item_id, type, entry, slate.recommendation_id));
  say(slate.items.length ? `${slate.items.length} items, made at ${new Date(slate.created_at).toLocaleTimeString()}` :
    "An empty slate: nothing is known yet that could be shown.");
}

async function noteAct(done) {
  await catalog.load([done.item_id]);
  state.acts = [done, ...state.acts].slice(0, MOST_ACTS);
  drawActs();
}

function drawActs() {
  byId("acts").replaceChildren(...state.acts.slice(0, 6).map((done) =>
    element("li", {}, element("b", {}, done.type), ` ${catalog.title(done.item_id)}`)));
  interests.draw(state.acts);
}

const choice = (item, detail) => element("li", {},
  element("button", { type: "button", onclick: () => act(item.item_id, "click") },
    item.title || item.item_id, element("small", {}, ` ${detail ?? (item.categories ?? []).slice(0, 3).join(" · ")}`)));

let asked = 0;
async function find() {
  const mine = (asked += 1);
  const items = await catalog.find(byId("query").value);
  if (mine === asked) byId("found").replaceChildren(...items.map((item) => choice(item)));
}

async function picture(now) {
  const mean = (counts) => counts.slice(-5).reduce((sum, n) => sum + n, 0) / 5;
  byId("rate-events").textContent = mean(now.events).toFixed(0);
  byId("rate-slates").textContent = mean(now.slates).toFixed(0);
  for (const p of ["p50", "p99"]) byId(p).textContent = now.latency_ms[p] === null ? "–" : `${now.latency_ms[p]} ms`;
  byId("ready").textContent = now.ready ? "ready" : "loading";
  byId("ready").dataset.state = now.ready ? "ready" : "loading";
  drawRates(now);
  await catalog.load([...now.trending, ...now.newest.map((event) => event.item_id)]);
  byId("trending").replaceChildren(...now.trending.map((id) => choice(catalog.item(id), "")));
  byId("happening").replaceChildren(...now.newest.slice(0, 8).map((event) => element("li", {},
    element("button", { type: "button", "aria-label": `follow ${event.user_id}`, onclick: () => be(event.user_id) }, event.user_id),
    ` ${event.event_type}${event.value === null ? "" : ` ${event.value}`} `, catalog.title(event.item_id))));
  const letters = Object.entries(now.letters);
  byId("letters").replaceChildren(...(letters.length ? letters.map(([reason, n]) =>
    element("li", {}, element("span", {}, reason), element("b", {}, String(n)))) : [element("li", {}, "none")]));
  drawExperiments(now.experiments);
}

let drawn = "";
function drawExperiments(experiments) {
  const said = JSON.stringify(experiments);
  if (!experiments.length || said === drawn) return;
  drawn = said;
  const percent = (x) => (x === null || x === undefined ? "–" : `${(100 * x).toFixed(1)}%`);
  const range = (pair) => (pair && pair[0] !== null && pair[1] !== null ? `${percent(pair[0])} to ${percent(pair[1])}` : "not known yet");
  const boxes = experiments.map((experiment) => {
    const chart = element("div", { class: "chart", role: "img", "aria-label": `lift of ${experiment.goal} by users, with its bounds` });
    const rows = experiment.variants.map(({ variant, users, traffic, goal }) => element("tr", {},
      element("td", {}, variant), element("td", {}, String(users)), element("td", {}, percent(traffic)),
      element("td", {}, goal ? String(Number(goal.value.toPrecision(3))) : "–"),
      element("td", {}, goal?.lift ? range(goal.lift) : "control")));
    const head = ["variant", "users", "traffic", experiment.goal, "lift, at any look"].map((text) => element("th", { scope: "col" }, text));
    return [element("section", { "aria-label": experiment.experiment },
      element("h3", {}, experiment.experiment, element("span", { class: "verdict", "data-verdict": experiment.verdict }, experiment.verdict)),
      element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)), chart), chart, experiment];
  });
  byId("experiments").replaceChildren(...boxes.map(([box]) => box));
  boxes.forEach(([, chart, experiment]) => drawLifts(chart, experiment));
}

byId("who").addEventListener("submit", (event) => { event.preventDefault(); be(byId("user").value.trim() || someone()); });
byId("new-user").addEventListener("click", () => be(someone()));
byId("query").addEventListener("input", find);
be(decodeURIComponent(location.hash.slice(1)) || someone());
find();
follow("live/stream", {}, {
  picture,
  error: () => { byId("ready").textContent = "no answer"; byId("ready").dataset.state = "lost"; },
});
get("live").then(picture);
