"""The chances that slates carried, beside what came of them, for the terminal: a reliability diagram of each stage."""

from rich.console import Console
from rich.table import Table

from models.names import STAGES
from models.numeric.reliability import calibration_error
from models.online.versions import Chances

WIDTH = 40
"""Columns of a bar."""
FEWEST = 100
"""Predictions of a bin that is drawn: fewer say little."""


def show_chances(chances: Chances, console: Console) -> None:
    """Print a reliability diagram of each stage: what was said to what share of items, and to how many it happened."""
    for stage in STAGES:
        bins = chances.table(stage)
        n, said, came_true = bins.sum(axis=0).tolist()
        if not n:
            continue
        said_of, happened_to = f"{said / n:.2%}", f"{came_true / n:.2%}"
        console.print(
            f"\n[bold]{stage}[/bold]: of {n:,.0f} items shown {said_of} were said to come to it, {happened_to} did; "
            f"expected calibration error {calibration_error(bins):.4f}",
            highlight=False,
        )
        table = Table("said", "came true", "items", "| what was said, # what came true")
        drawn = [(n, said / n, came_true / n) for n, said, came_true in bins.tolist() if n >= FEWEST]
        most = max((max(said, came_true) for _, said, came_true in drawn), default=0.0) or 1.0
        for n, said, came_true in drawn:
            table.add_row(f"{said:.2%}", f"{came_true:.2%}", f"{n:,.0f}", _bar(said / most, came_true / most))
        console.print(table)


def _bar(said: float, came_true: float) -> str:
    """Draw a share that came true as a bar, and the one that was said as a mark on it; both of the widest."""
    bar = list(("#" * round(came_true * WIDTH)).ljust(WIDTH + 1))
    bar[round(said * WIDTH)] = "|"
    return "".join(bar).rstrip()
