// What an operator looks for: lag, dead letters, rankers' versions and the way back, erasures with their receipts.
import { byId, careful, element, redraw } from "./dom.js";
import { call, get, post, userPath } from "./http.js";

const RECEIPT_MS = 500, RECEIPTS_S = 60;

const pair = (name, value, state) => element("li", {}, element("span", {}, name), element("b", { "data-state": state }, value));

export function draw(picture) {
  redraw(byId("flows"), [picture.behind, picture.kept, picture.streams], () => [
    ...Object.entries(picture.behind).map(([flow, n]) => (n === null ? pair(flow, "not known", "loading") :
      n === 0 ? pair(flow, "up to date", "ready") : pair(flow, `${n} events to commit`))),
    pair("slates kept", picture.kept.slates.toLocaleString()), pair("items", picture.kept.items.toLocaleString()),
    pair("open streams", String(picture.streams)),
  ]);
  redraw(byId("letters"), picture.letters, () => {
    const letters = Object.entries(picture.letters);
    return letters.length ? letters.map(([reason, n]) => pair(reason.replaceAll("_", " "), String(n), "lost")) : [pair("none", "0", "ready")];
  });
  redraw(byId("rankers"), picture.rankers, () => (picture.rankers.length ? picture.rankers.map(ranker) :
    [element("p", { class: "said" }, "The blend ranks: no ranker is learned here.")]));
}

function ranker({ ranker: name, serving, pinned, versions }) {
  const said = element("p", { class: "said", role: "status" });
  const ask = (what) => () => post(`rankers/${encodeURIComponent(name)}/${what}`)
    .then((answer) => { said.textContent = answer.serves ? `${answer.serves} serves in a moment` : "the newest decision counts again"; })
    .catch((error) => { said.textContent = error.message; });
  return element("section", { class: "ranker", "aria-label": `ranker ${name}` },
    element("p", {}, element("b", {}, name), " ",
      element("span", { class: "pill" }, pinned ? "pinned by hand" : "learn decides")),
    element("ol", { class: "versions" }, ...versions.slice(0, 4).map((one) => element("li", { "data-serves": one.version === serving ? "" : null },
      element("span", {}, one.version), one.version === serving ? element("b", {}, "serves") : null,
      element("small", {}, evidence(one))))),
    pinned ? careful("let learn decide", "sure?", ask("release")) : careful("roll back", "sure? roll back", ask("rollback")), said);
}

function evidence({ decision, slates, gain, before }) {
  const sum = gain === null || before === null ? "" : `, gain ${gain.toFixed(3)} after ${before.toFixed(3)} on ${slates} slates`;
  return ` ${decision}${sum}`;
}

export function offerToForget(user) {
  byId("receipts").replaceChildren();
  byId("forget").replaceChildren(careful(`forget ${user}`, `sure? all of ${user} goes`, () => forget(user)));
}

async function forget(user) {
  try {
    const { erasure_id: id } = await call("DELETE", userPath(user));
    for (let waited = 0; waited < RECEIPTS_S * 1_000; waited += RECEIPT_MS) {
      const answer = await get(`erasures/${id}`);
      drawReceipts(user, answer);
      if (!answer.awaited.length) return;
      await new Promise((done) => setTimeout(done, RECEIPT_MS));
    }
  } catch (error) {
    byId("receipts").replaceChildren(element("p", { class: "said" }, error.message));
  }
}

function drawReceipts(user, { awaited, receipts }) {
  const said = awaited.length ? `Forgetting ${user}: waiting for ${awaited.join(", ")}` : `${user} is forgotten; every flow has signed off:`;
  byId("receipts").replaceChildren(element("p", { class: "said" }, said),
    element("ul", { class: "pairs" }, ...receipts.map(({ place, what, before, after, signature }) =>
      pair(`${place}, ${what}${signature ? ", signed" : ""}`, `${before} → ${after}`, after === 0 ? "ready" : "loading"))));
}
