"""What a backtest found: a table for the terminal, and lines over time as an SVG picture."""

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from rich.console import Console
from rich.table import Table

from models.offline.backtest.outcomes import OverTime

WIDTH, HEIGHT, MARGIN, LEGEND = 900, 420, 50, 170
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#997700", "#bbbbbb", "#000000")
"""Tol's palette, which the colour-blind can tell apart."""
COLD_START = {
    "by_earlier_events": "By the number of acts that the prediction could build on",
    "by_item_age": "By the time since the item was first known",
}
"""What is said of each of the report's groups for which little is known."""


def show(report: Mapping[str, Any]) -> None:
    """Print the table for people; wide enough for a file or a pipe, whatever the terminal."""
    k = report["k"]
    table = Table(
        title=f"{report['protocol']}, {report['n']:,} predictions; {report['unwinnable']:.1%} of items not known"
    )
    table.add_column("", no_wrap=True)
    for name in (f"HR@{k}", f"MRR@{k}", f"NDCG@{k}", "found", "coverage", "novelty", "us p50", "us p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, figures in report["models"].items():
        table.add_row(
            name,
            f"{figures['hr']:.4f} ±{_half_width(figures['hr_95']):.3f}",
            f"{figures['mrr']:.4f} ±{_half_width(figures['mrr_95']):.3f}",
            f"{figures['ndcg']:.4f}",
            f"{figures['candidate_recall']:.3f}",
            f"{figures['coverage']:.3f}",
            f"{figures['novelty']:.1f}",
            f"{figures['us_p50']:.0f}",
            f"{figures['us_p99']:.0f}",
            style="bold" if name == report["default"] else None,
        )
    console = Console(width=max(Console().width, 120))
    console.print(table)
    for key, caption in COLD_START.items():
        console.print(_by_group(report, key, caption))
    for figure, beside in report["significance"].items():
        if beside is not None:
            console.print(
                f"{figure.upper()}: {report['default']} {beside['difference']:+.4f} beside {beside['baseline']} "
                f"(95% {beside['difference_95'][0]:+.4f} to {beside['difference_95'][1]:+.4f}, p {beside['p']:.4f})",
                highlight=False,
            )


def _by_group(report: Mapping[str, Any], key: str, caption: str) -> Table:
    """Tabulate the hit rates by the groups that have predictions in them."""
    groups = {name: group for name, group in report["cold_start"][key].items() if group["n"]}
    table = Table(title=f"HR@{report['k']} {caption[0].lower()}{caption[1:]}")
    table.add_column("", no_wrap=True)
    for name, group in groups.items():
        table.add_column(f"{name} ({group['n']:,})", justify="right")
    for name in report["models"]:
        rates = (f"{group['models'][name]['hr']:.4f}" for group in groups.values())
        table.add_row(name, *rates, style="bold" if name == report["default"] else None)
    return table


def _half_width(bounds: list[float]) -> float:
    """Return half the width of an interval."""
    return (bounds[1] - bounds[0]) / 2


def plot_hit_rates(title: str, over_time: OverTime) -> str:
    """Draw each model's hit rates over time, from 0 to the largest value.

    Returns
    -------
    The text of an SVG file, which any browser shows; the last line is drawn boldest, above the others.
    """
    at, lines = over_time.at.tolist(), {name: rates.tolist() for name, rates in over_time.hit_rates.items()}
    highest = max((max(values, default=0.0) for values in lines.values()), default=0.0) or 1.0
    first, last = (at[0], at[-1]) if at else (0.0, 1.0)
    across, up = WIDTH - 2 * MARGIN - LEGEND, HEIGHT - 2 * MARGIN

    def x(moment: float) -> float:
        return MARGIN + across * (moment - first) / max(last - first, 1.0)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - up * value / highest

    box = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="{MARGIN / 2}" font-size="15">{escape(title)}</text>',
    ]
    for step in range(5):
        value = highest * step / 4
        parts += [
            f'<line x1="{MARGIN}" x2="{MARGIN + across}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>',
            f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>',
        ]
    for moment, anchor in ((first, "start"), (last, "end")):
        day = datetime.fromtimestamp(moment / 1_000, UTC).date().isoformat()
        parts.append(f'<text x="{x(moment):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="{anchor}">{day}</text>')
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(moment):.1f},{y(value):.1f}" for moment, value in zip(at, values, strict=True))
        bold = 3 if number == len(lines) - 1 else 1.5
        top = MARGIN + 20 * number
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{bold}"/>',
            f'<rect x="{WIDTH - LEGEND}" y="{top}" width="12" height="12" fill="{colour}"/>',
            f'<text x="{WIDTH - LEGEND + 18}" y="{top + 11}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])
