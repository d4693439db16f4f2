"""Looks into the figures of a backtest.

eddy backtest ... --json out.json
marimo edit deploy/notebooks/explore_backtest.py -- --figures out.json

As a script (`python` for `marimo edit`) it prints what stands first in each table.
"""

import marimo

app = marimo.App(width="medium", app_title="A backtest, looked into")


@app.cell
def _():
    import json
    from pathlib import Path

    import marimo as mo

    return Path, json, mo


@app.cell
def _(Path, json, mo):
    path = Path(str(mo.cli_args().get("figures") or "out.json"))
    mo.stop(not path.is_file(), mo.md(f"`{path}` is not there: write it by `eddy backtest ... --json {path}`."))
    figures = json.loads(path.read_text())
    mo.md(f"# {figures['protocol']}: {figures['n']:,} predictions of the next act, {figures['k']} items a slate")
    return (figures,)


@app.cell
def _(mo):
    metric = mo.ui.dropdown({"hit rate": "hr", "reciprocal rank": "mrr", "NDCG": "ndcg"}, "hit rate", label="judged by")
    metric
    return (metric,)


@app.cell
def _(figures, metric, mo):
    key = metric.value
    ways = [
        {
            "way": name,
            key: round(model[key], 4),
            "95% from": round(model[f"{key}_95"][0], 4),
            "to": round(model[f"{key}_95"][1], 4),
            "coverage": round(model["coverage"], 3),
            "novelty": round(model["novelty"], 1),
            "µs p99": round(model["us_p99"]),
        }
        for name, model in sorted(figures["models"].items(), key=lambda entry: -entry[1][key])
    ]
    print(f"best by {key}: {ways[0]['way']} {ways[0][key]:.4f}")
    mo.ui.table(ways, selection=None, label="Intervals are bootstraps over users.")
    return (key,)


@app.cell
def _(figures, mo):
    sentences = [
        f"- **{name.upper()}**: {figures['default']} earns {found['difference']:+.4f} beside {found['baseline']} "
        f"(95% {found['difference_95'][0]:+.4f} to {found['difference_95'][1]:+.4f}, p {found['p']:.4f})"
        for name, found in figures["significance"].items()
        if found is not None
    ]
    print("\n".join(sentences))
    mo.md("## Is the pipeline better than the best simpler way?\n\n" + "\n".join(sentences))


@app.cell
def _(mo):
    # What users did before and how long items were known: groups of the same predictions, not others.
    splits = {"acts before it": "by_earlier_events", "age of the item": "by_item_age"}
    split = mo.ui.dropdown(splits, "acts before it", label="split by")
    split
    return (split,)


@app.cell
def _(figures, key, mo, split):
    groups = {name: group for name, group in figures["cold_start"][split.value].items() if group["n"]}
    # Groups have no NDCG.
    judged = key if key != "ndcg" else "mrr"
    by_group = [
        {"way": name} | {label: round(group["models"][name][judged], 4) for label, group in groups.items()}
        for name in figures["models"]
    ]
    counts = ", ".join(f"{label} {group['n']:,}" for label, group in groups.items())
    print(f"{judged} by group: {counts}")
    mo.ui.table(by_group, selection=None, label=f"{judged} by group, and its predictions")


if __name__ == "__main__":
    app.run()
