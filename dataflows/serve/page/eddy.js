// The live page: be a user, and watch the stream.
import * as catalog from "./catalog.js";
import { drawMinute } from "./charts.js";
import { byId, element, redraw } from "./dom.js";
import * as experiments from "./experiments.js";
import { follow, get, post, userPath } from "./http.js";
import * as interests from "./interests.js";
import * as operations from "./operations.js";
import * as slates from "./slate.js";

const MOST_ACTS = 40, SHOWN_ACTS = 6, MOST_HAPPENING = 8;
const START = "Open something: the slate follows.", PATIENCE_MS = 4_000;
const state = { user: "", mine: "", acts: [], asked: null, stop: () => {}, drawing: Promise.resolve() };

const say = (text) => { byId("said").textContent = text; };
const someone = () => `visitor-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;

function be(user, pinned = false) {
  state.stop();
  Object.assign(state, { user, mine: pinned ? state.mine : user, acts: [], asked: null });
  byId("user").value = user;
  byId("whose").textContent = user;
  byId("took").textContent = "";
  byId("pinned").hidden = !pinned;
  byId("new-user").textContent = pinned ? "back to yourself" : "someone new";
  slates.clear();
  drawActs();
  say(START);
  operations.offerToForget(user);
  state.stop = follow(userPath(user, "stream"), {}, {
    slate: (slate) => { state.drawing = state.drawing.then(() => show(slate, performance.now())); },
    erased: () => { slates.clear(); say("This user was erased."); },
  });
  history.replaceState(null, "", `#${encodeURIComponent(user)}`);
}

async function act(itemId, type, value, entry, slateId) {
  const event = {
    event_id: crypto.randomUUID?.() ?? someone(), user_id: state.user, item_id: itemId, event_type: type, value,
    timestamp: Date.now(), recommendation_id: slateId, position: entry?.position,
  };
  state.asked = { id: event.event_id, at: performance.now() };
  noteAct(event);
  try {
    await post("events", event);
    setTimeout(() => {
      if (state.asked?.id === event.event_id) say("Taken, but no slate came: `recommend` is starting, or is not running. Try again in a moment.");
    }, PATIENCE_MS);
  } catch (error) {
    say(`Not taken: ${error.message}`);
  }
}

async function show(slate, arrived) {
  if (slate.user_id !== state.user) return;
  if (state.asked?.id === slate.trigger_id) {
    byId("took").textContent = `${Math.round(arrived - state.asked.at)} ms`;
    byId("took").animate?.([{ opacity: 0 }, { opacity: 1 }], 300);
    state.asked = null;
  }
  await catalog.load(slate.items.map((entry) => entry.item_id));
  slates.draw(slate, (entry, type, value) => act(entry.item_id, type, value, entry, slate.recommendation_id));
  say(slate.items.length ? `${slate.items.length} items, made at ${new Date(slate.created_at).toLocaleTimeString()}` :
    "An empty slate: nothing is known yet that could be shown.");
}

async function noteAct(event) {
  if (state.acts.some((done) => done.event_id === event.event_id)) return;
  state.acts = [{ ...event, at: event.timestamp ?? Date.now() }, ...state.acts].slice(0, MOST_ACTS);
  await catalog.load([event.item_id]);
  drawActs();
}

const done = (event) => (event.value === null || event.value === undefined ? event.event_type : `${event.value} ★`);

function drawActs() {
  byId("acts").replaceChildren(...state.acts.slice(0, SHOWN_ACTS).map((event) =>
    element("li", {}, element("b", {}, done(event)), element("span", {}, catalog.title(event.item_id)))));
  if (!state.acts.length) byId("acts").append(element("li", { class: "said" }, "nothing yet"));
  interests.draw(state.acts);
}

const choice = (id, detail, rated) => element("li", {},
  element("button", { type: "button", class: "title", onclick: () => act(id, "click") }, catalog.title(id)),
  detail ? element("small", {}, detail) : null,
  rated ? catalog.stars(id, (n) => act(id, "rating", n)) : null);

let asked = 0;
async function find() {
  const mine = (asked += 1);
  const items = await catalog.find(byId("query").value);
  if (mine === asked) byId("found").replaceChildren(...items.map(({ item_id: id }) => choice(id, catalog.categories(id), true)));
}

function happened(event) {
  return element("li", {},
    element("button", { type: "button", "aria-label": `pin ${event.user_id}`, onclick: () => be(event.user_id, true) }, event.user_id),
    element("b", {}, done(event)), element("span", {}, catalog.title(event.item_id)));
}

async function picture(now) {
  if (!now.seconds) return;
  const mean = (counts) => counts.slice(-5).reduce((sum, n) => sum + n, 0) / 5;
  byId("rate-events").textContent = mean(now.events).toFixed(0);
  byId("rate-slates").textContent = mean(now.slates).toFixed(0);
  for (const p of ["p50", "p99"]) byId(p).textContent = now.latency_ms[p] === null ? "–" : `${Math.round(now.latency_ms[p])} ms`;
  byId("ready").textContent = now.ready ? "ready" : "loading";
  byId("ready").dataset.state = now.ready ? "ready" : "loading";
  drawMinute("rates", now, [["events", "--flow", now.events], ["slates", "--warm", now.slates]]);
  drawMinute("latency", now, [["p50", "--flow", now.p50_ms], ["p99", "--warm", now.p99_ms]]);
  await catalog.load([...now.trending, ...now.newest.map((event) => event.item_id)]);
  redraw(byId("trending"), now.trending, () => (now.trending.length ? now.trending.map((id) => choice(id, catalog.categories(id))) :
    [element("li", { class: "said" }, "nothing yet")]));
  redraw(byId("happening"), now.newest, () => now.newest.slice(0, MOST_HAPPENING).map(happened));
  for (const event of now.newest.filter(({ user_id: user }) => user === state.user).reverse()) noteAct(event);
  experiments.draw(now.experiments);
  operations.draw(now);
}

byId("who").addEventListener("submit", (event) => { event.preventDefault(); be(byId("user").value.trim() || someone()); });
byId("new-user").addEventListener("click", () => be(byId("pinned").hidden ? someone() : state.mine));
byId("query").addEventListener("input", find);
be(decodeURIComponent(location.hash.slice(1)) || someone());
find();
follow("live/stream", {}, {
  picture,
  error: () => { byId("ready").textContent = "no answer"; byId("ready").dataset.state = "lost"; },
});
get("live").then(picture);
