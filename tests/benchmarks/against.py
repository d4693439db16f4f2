"""Measures two checkouts in turns: `make bench AGAINST=<commit>`.

A machine that is shared differs from itself by more than a change does, from one minute to the next. So both
checkouts stay loaded, each in a process of its own, and run laps of under a second in turns, first one, then the other
first. What counts is the ratio of two laps that lie beside each other, its median and the 95% interval of that median
by bootstrap: a slow minute falls on both. Where other programs run beside it, the ratio of CPU seconds is the one to
look at; it counts all threads, and of a flow the past as well that it reads before the clock starts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.numeric.arrays import Doubles
from tests.benchmarks.calibration import calibrate

MEASURES = (
    "recommend, in memory",
    "recommend, four sources",
    "recommend, mlp",
    "recommend, recovery on",
    "bare loop",
    "bare loop, mlp",
    "a slate alone",
    "learn",
)
TURNS = 24
HERE = Path(__file__).resolve().parents[2]
LAPS = Path(__file__).with_name("laps.py")


def main() -> None:
    """Measure, print a table, and a JSON object on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", help="what this checkout is measured against")
    parser.add_argument("--turns", type=int, default=TURNS, help="pairs of laps a measure")
    parser.add_argument("--only", nargs="*", choices=MEASURES, default=MEASURES, help="measures to run")
    options = parser.parse_args()
    calibration = calibrate()
    with _checkout(options.commit) as there:
        laps = measure(there, HERE, options.only, options.turns)
    figures = {
        name: {kind: ratio(old[:, k], new[:, k]) for k, kind in enumerate(("wall", "cpu"))}
        for name, (old, new) in laps.items()
    }
    print_table(options.commit, figures)
    sys.stdout.write(json.dumps({"against": options.commit, "calibration": calibration, "ratios": figures}) + "\n")


def measure(there: Path, here: Path, measures: tuple[str, ...], n_turns: int) -> dict[str, tuple[Doubles, Doubles]]:
    """Run laps in turns: (n_turns, 2) seconds by the clock and of CPU, by measure, those of `there` first."""
    laps: dict[str, tuple[list[list[float]], ...]] = {name: ([], []) for name in measures}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading both checkouts", total=n_turns * len(measures))
        with _worker(there) as old, _worker(here) as new:
            for turn in range(n_turns):
                for name in measures:
                    progress.update(task, description=name)
                    for which in (0, 1) if turn % 2 == 0 else (1, 0):
                        laps[name][which].append(_lap((old, new)[which], name))
                    progress.advance(task)
    return {name: (np.array(old), np.array(new)) for name, (old, new) in laps.items()}


def ratio(old: Doubles, new: Doubles) -> dict[str, float]:
    """Say how much faster the new one is: the median of old seconds over new, and its 95% interval."""
    ratios = old / new
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2_000, len(ratios))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return {
        "speed": round(float(np.median(ratios)), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "old_s": round(float(np.median(old)), 4),
        "new_s": round(float(np.median(new)), 4),
    }


def print_table(commit: str, figures: dict[str, dict[str, dict[str, float]]]) -> None:
    """Show the ratios to a person."""
    table = Table("measure", "by", "speed, new to old", "95%", "s, old", "s, new", title=f"this checkout to {commit}")
    for name, kinds in figures.items():
        for kind, row in kinds.items():
            interval = f"{row['low']:.3f} to {row['high']:.3f}"
            table.add_row(name, kind, f"{row['speed']:.3f}", interval, str(row["old_s"]), str(row["new_s"]))
    Console(stderr=True).print(table)


@contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "checkout"
        subprocess.run(["git", "worktree", "add", "--detach", str(there), commit], cwd=HERE, check=True, stdout=2)
        try:
            yield there
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(there)], cwd=HERE, check=True)


@contextmanager
def _worker(checkout: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, str(LAPS)], cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        _read(process, until="ready")
        yield process
    finally:
        process.kill()
        process.wait()


def _lap(process: "subprocess.Popen[str]", name: str) -> list[float]:
    _pipe(process.stdin).write(f"{name}\n")
    _pipe(process.stdin).flush()
    return [float(seconds) for seconds in _read(process).split()]


def _read(process: "subprocess.Popen[str]", until: str = "") -> str:
    for line in _pipe(process.stdout):
        if not until or line.strip() == until:
            return line
    raise SystemExit(f"The checkout's worker ended with {process.wait()}: see its message above.")


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


if __name__ == "__main__":
    main()
