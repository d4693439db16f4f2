"""Writes what was measured as a page with tables, and a picture of what grows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.growth.picture import plot_growth

PAGE = Path(__file__).parents[1] / "GROWTH.md"
PICTURE = Path(__file__).parents[3] / "deploy" / "pictures" / "growth.svg"

ROWS = {
    "users": {
        "memory_bytes_a_user": "memory, bytes a user",
        "store_bytes_a_user": "store as it was filled, bytes a user",
        "store_bytes_a_user_after": "store after the run and its stop, bytes a user",
        "read_s": "SQLite reads all rows, CPU s",
        "check_s": "the store is checked, CPU s",
        "files": "files",
        "spread_s": "keys are spread over more files, once, CPU s",
        "resume_s": "the engine resumes, to the first slate, CPU s",
        "us_a_slate": "a slate, with its four events and its share of snapshots, CPU µs",
        "median_ms": "between two batches, median, ms",
        "pause_ms": "longest, with a snapshot each five seconds, ms",
        "stop_s": "the flow stops, CPU s",
    },
    "items": {
        "load_s": "the table loads, CPU s",
        "row_bytes": "memory beyond 50 neighbours of 12 bytes, bytes an item",
        "us_a_slate": "a slate in a batch of 128, CPU µs",
        "us_alone_p50": "a slate alone, p50, µs",
        "us_alone_p99": "p99, µs",
    },
}
"""What is measured of each kind, as it is said."""
PLOTTED = (
    ("users", "memory_bytes_a_user"), ("users", "check_s"), ("users", "resume_s"),
    ("items", "us_a_slate"), ("items", "us_alone_p50"), ("items", "load_s"),
)  # fmt: skip

_HEAD = """# Growth

`make bench-growth` measures this and writes the page: one run, {machine}, bytewax {bytewax}, numba {numba},
NumPy {numpy}; the command was `python -m tests.benchmarks.growth {arguments}`. Each size has a process of its own.
Seconds of CPU are of the process alone; other times are by the clock, and longer where other work shares the machine.

![Each line beside its smallest size](../../deploy/pictures/growth.svg)

Users have 15 views behind them, in a store of 8 files that the engine wrote; the flow resumes from it, and 40,000
events of all users follow in memory, of which one in four makes a slate (20,000 items, all sources). Items have 50
neighbours each, attributes and a vector, and 50,000 sessions lie beside them, which the smallest catalog has as well.
A flow with a store of over 128 MiB stops with the running epoch, and writes what has changed; one with a smaller store
writes every user once more, and its file keeps the room of what lay there twice for what comes next.
"""
_START = (
    "`eddy run recommend` over the embedded broker, its kernels compiled before, with an empty table: its probe "
    "answers after {healthy_s:.1f} s, and it is ready after {ready_s:.1f} s (medians of {n} starts)."
)


def write_page(figures: Mapping[str, Any]) -> None:
    """Replace the page and its picture."""
    PAGE.write_text(page_of(figures))
    PICTURE.write_text(picture_of(figures))


def page_of(figures: Mapping[str, Any]) -> str:
    """Return the page's text."""
    lines = [_HEAD.format(**figures)]
    for kind, rows in ROWS.items():
        sizes = figures[kind]
        lines += [f"| {kind} | {' | '.join(f'{int(n):,}' for n in sizes)} |", f"|---|{'---:|' * len(sizes)}"]
        lines += [
            f"| {said} | {' | '.join(_said(of_size[name]) for of_size in sizes.values())} |"
            for name, said in rows.items()
        ]
        lines.append("")
    lines.append(_START.format(**figures["start"]))
    return "\n".join(lines) + "\n"


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def picture_of(figures: Mapping[str, Any]) -> str:
    """Draw how many times as much each figure is as at its smallest size, both axes by powers of ten."""
    lines = {
        f"{kind}: {ROWS[kind][name]}": [
            (float(n), of_size[name] / next(iter(figures[kind].values()))[name]) for n, of_size in figures[kind].items()
        ]
        for kind, name in PLOTTED
    }
    return plot_growth("Beside the smallest size", lines)
