"""What `eddy evaluate-policy` and the demo say of another strategy's worth: a table, or JSON."""

from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from dataflows.errors import EddyError
from models.experiments.judge.off_policy import Value
from models.offline.policy.evaluate import Assumption, PolicyFigures


def _rows(figures: PolicyFigures) -> dict[str, Value]:
    served = {} if figures.served is None else {"served": figures.served}
    return served | {"drawn": figures.drawn} | figures.estimates


def _record(figures: PolicyFigures, assume: Assumption, alpha: float) -> dict[str, Any]:
    return {
        "assumption": assume,
        "alpha": alpha,
        "users": figures.n_users,
        "left_out": figures.n_left_out,
        "places": figures.n_places,
        "mean_weight": figures.mean_weight,
        "values": {
            name: {
                "value": value.value,
                "error": value.error,
                "interval": value.interval(alpha),
                "slates": value.n,
                "effective": value.n_effective,
                "warning": value.warning,
            }
            for name, value in _rows(figures).items()
        },
    }


def show_figures(figures: PolicyFigures, assume: Assumption, alpha: float, console: Console) -> None:
    """Print the estimates, and how far they can be believed."""
    names = {
        "served": "as served",
        "drawn": "drawn as a whole",
        "ips": "the strategy, by IPS",
        "snips": "the strategy, by SNIPS",
        "dr": "the strategy, by DR",
    }
    table = Table("", "acted on a slate", f"{1 - alpha:.0%} interval", "slates", "effective")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, value in _rows(figures).items():
        low, high = value.interval(alpha)
        table.add_row(
            names[name], f"{value.value:.4f}", f"{low:.4f} to {high:.4f}", f"{value.n:,}", f"{value.n_effective:,.0f}"
        )
    console.print(table)
    console.print(
        f"{figures.n_users:,} users, {figures.n_places} places, assuming {assume}; the weights' mean is "
        f"{figures.mean_weight:.3f}: it is 1 within chance, where the log could have shown all that the strategy would",
        highlight=False,
    )
    if figures.n_left_out:
        console.print(
            f"{figures.n_left_out:,} slates were left out: their variant or placement had not looked for candidates "
            "where this strategy does",
            highlight=False,
        )
    if (warning := figures.estimates["dr"].warning) is not None:
        console.print(warning, style="yellow", highlight=False)


def write_figures(figures: PolicyFigures, assume: Assumption, alpha: float, out: Path) -> None:
    """Write them as JSON.

    Raises
    ------
    EddyError : the file cannot be written.
    """
    try:
        out.write_bytes(
            orjson.dumps(_record(figures, assume, alpha), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
    except OSError as error:
        raise EddyError(f"{out} cannot be written: {error.strerror}") from error
