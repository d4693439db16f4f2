"""A backtest as one HTML file: nothing is loaded from elsewhere, and it reads on a phone and in the dark."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any

from dataflows.cli.backtest_figures import COLD_START, plot_hit_rates
from models.offline.backtest.outcomes import OverTime
from models.offline.backtest.sample import NamedItem, SampledPrediction

STYLE = "backtest_page.css"
HIT = ' class="hit"'


def backtest_page(figures: Mapping[str, Any], over_time: OverTime, examples: Sequence[SampledPrediction]) -> str:
    """Write the page.

    Parameters
    ----------
    figures : as `models.offline.backtest.report` has them.
    examples : of the default pipeline.
    """
    k, default = figures["k"], figures["default"]
    title = f"Backtest, {figures['protocol']}, {figures['n']:,} predictions"
    said = (
        f"What people went on to, and whether it was among the {k} items that each way would have recommended before. "
        f"<b>{escape(default)}</b> is the whole pipeline."
    )
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{(files('dataflows.cli') / STYLE).read_text()}</style></head><body>",
        f"<header><h1>{escape(title)}</h1><p>{said}</p></header><main>",
        *_headline(figures),
        *_comparison(figures),
        '<section><h2>Over time</h2><div class="wide plot">',
        plot_hit_rates(f"HR@{k} over time", over_time),
        "</div></section>",
        *_cold_start(figures),
        *_examples(examples, k),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _headline(figures: Mapping[str, Any]) -> list[str]:
    """Give the default's three figures, and say whether it is better than the best simpler way."""
    own, k = figures["models"][figures["default"]], figures["k"]
    cards = [
        f"<div><dt>{name}@{k}</dt><dd>{own[key]:.4f}</dd><small>{_interval(own[f'{key}_95'])}</small></div>"
        for key, name in (("hr", "HR"), ("mrr", "MRR"), ("ndcg", "NDCG"))
    ]
    said = [
        _beside(name, found, figures["default"]) for name, found in figures["significance"].items() if found is not None
    ]
    return ['<section><h2>In short</h2><dl class="cards">', *cards, "</dl>", *said, "</section>"]


def _beside(name: str, found: Mapping[str, Any], default: str) -> str:
    low, high = found["difference_95"]
    sure = "better than" if low > 0 else "worse than" if high < 0 else "not told apart from"
    return (
        f"<p>{name.upper()}: {escape(default)} is <b>{sure}</b> {escape(found['baseline'])}, the best simpler way: "
        f"{found['difference']:+.4f} ({_interval(found['difference_95'], signed=True)}, p {found['p']:.4f}).</p>"
    )


def _comparison(figures: Mapping[str, Any]) -> list[str]:
    """Tabulate all models, with the interval of the hit rate as a bar."""
    k, models = figures["k"], figures["models"]
    most = max((model["hr_95"][1] for model in models.values()), default=0.0) or 1.0
    heads = ("", f"HR@{k}", "95%", f"MRR@{k}", f"NDCG@{k}", "found", "coverage", "novelty", "µs p50", "µs p99")
    rows = []
    for name, model in models.items():
        cells = [
            f"{model['hr']:.4f}", _bar(model, most), _with_margin(model, "mrr"), _with_margin(model, "ndcg"),
            f"{model['candidate_recall']:.3f}", f"{model['coverage']:.3f}", f"{model['novelty']:.1f}",
            f"{model['us_p50']:.0f}", f"{model['us_p99']:.0f}",
        ]  # fmt: skip
        rows.append(_row(name, cells, is_default=name == figures["default"]))
    notes = (
        "Intervals are 95% bootstraps over users. Found: the share of the next items that were among what was ranked; "
        f"{figures['unwinnable']:.1%} nobody could have recommended. "
        "Coverage: the share of all items that were recommended to anybody. Novelty: bits of surprise, more for items "
        "that few act on. Times are those of one slate made alone."
    )
    return [
        "<section><h2>Beside every simpler way</h2>",
        *_table(heads, rows),
        f"<p><small>{notes}</small></p></section>",
    ]


def _bar(model: Mapping[str, Any], most: float) -> str:
    """Draw a hit rate and its interval, on a scale that ends with `most`."""
    low, high = (100 * bound / most for bound in model["hr_95"])
    return (
        f'<span class="bar" title="{_interval(model["hr_95"])}">'
        f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<b style="left:{100 * model["hr"] / most:.1f}%"></b></span>'
    )


def _cold_start(figures: Mapping[str, Any]) -> list[str]:
    """Tabulate the hit rates by groups, those with predictions in them."""
    parts = [f"<section><h2>When little is known</h2><p>HR@{figures['k']}.</p>"]
    for key, caption in COLD_START.items():
        groups = {name: group for name, group in figures["cold_start"][key].items() if group["n"]}
        heads = ("", *(f"{name} ({group['n']:,})" for name, group in groups.items()))
        rows = [
            _row(
                name,
                [f"{group['models'][name]['hr']:.4f}" for group in groups.values()],
                is_default=name == figures["default"],
            )
            for name in figures["models"]
        ]
        parts += [f"<h3>{caption}</h3>", *_table(heads, rows)]
    return [*parts, "</section>"]


def _examples(examples: Sequence[SampledPrediction], k: int) -> list[str]:
    """Show slates beside what came before and after them."""
    parts = ["<section><h2>Examples</h2><p>Users are drawn by chance; of each, the newest prediction.</p>"]
    for example in examples:
        day = datetime.fromtimestamp(example.at / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
        verdict = f"at place {example.place}" if example.place else f"not among the {k}"
        before = "; ".join(_name(item) for item in example.before) or "nothing yet"
        shown = [
            f"<li{HIT if place == example.place else ''}>{_name(item)}</li>"
            for place, item in enumerate(example.slate, 1)
        ]
        parts += [
            f"<article><h3>{day} UTC</h3><p><span>Before, the newest first:</span> {before}</p><ol>",
            *shown,
            f"</ol><p><span>Next:</span> <b>{_name(example.next)}</b>, {verdict}</p></article>",
        ]
    return [*parts, "</section>"]


def _name(item: NamedItem) -> str:
    return escape(item.title or item.item_id or "an item without a name")


def _interval(bounds: Sequence[float], *, signed: bool = False) -> str:
    low, high = (f"{bound:+.4f}" if signed else f"{bound:.4f}" for bound in bounds)
    return f"95%: {low} to {high}"


def _with_margin(model: Mapping[str, Any], key: str) -> str:
    low, high = model[f"{key}_95"]
    return f"{model[key]:.4f} ±{(high - low) / 2:.3f}"


def _row(name: str, cells: Sequence[str], *, is_default: bool) -> str:
    mark = ' class="default"' if is_default else ""
    return f'<tr{mark}><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _table(heads: Sequence[str], rows: Sequence[str]) -> list[str]:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    return [
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>',
        *rows,
        "</tbody></table></div>",
    ]
