"""Computes the tables of the page on sizing from figures that were measured, each read where it stands.

`python deploy/docs/sizing.py --events 50000 --users 3000000` prints them for loads of your own; a test holds that the
page has those of the default loads, so a new benchmark that moves a figure moves the page.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BENCHMARKS, SHELL, DOOR, RUNBOOK = (
    "tests/benchmarks/README.md", "dataflows/README.md", "dataflows/SERVE.md", "deploy/README.md",
)  # fmt: skip


class Figure(NamedTuple):
    """Something measured."""

    what: str
    file: str
    found: str
    """A regular expression with the number, or a dividend and a divisor, in groups."""

    def read(self) -> float:
        """Return the number.

        Raises
        ------
        LookupError : the text that says it is gone.
        """
        match = re.search(self.found, (ROOT / self.file).read_text())
        if match is None:
            raise LookupError(f"{self.file} does not say any more: {self.what}")
        number, *divisor = (float(text.replace(",", "")) for text in match.groups())
        return number / divisor[0] if divisor else number


FIGURES = {
    "recommend": Figure(
        "`recommend`, events/s of one worker in memory, a slate every fourth event", BENCHMARKS,
        r"\| blend \| ([\d,]+) \|",
    ),
    "recovery": Figure("of that with a recovery store", BENCHMARKS, r"\| recovery on to off \| ([\d.]+) \|"),
    "learn": Figure("`learn`, events/s of one worker in memory", BENCHMARKS, r"\| learn, events/s \| ([\d,]+) \|"),
    "snapshot": Figure("bytes of a user in a snapshot", BENCHMARKS, r"\| snapshot, bytes a user \| ([\d,]+) \|"),
    "stored": Figure(
        "MB of a store of 200,000 users", SHELL, r"of (?:200,000) users' state\n\(8 files, ([\d,]+) MB\)",
    ),
    "slate": Figure("bytes of a slate of ten items, without features, before lz4", SHELL,
                    r"A slate of ten items has ([\d,]+) bytes"),
    "base": Figure("MB of `recommend` with one user, at its peak", SHELL, r"\| one user \| [^|]+\| ([\d,]+) \|"),
    "crowd": Figure("MB of `recommend` with 20,000 users, at its peak", SHELL,
                    r"\| 20,000 users, one event each \| [^|]+\| ([\d,]+) \|"),
    "row": Figure("bytes of an item in the table of each process", SHELL, r"in every process (\d+) bytes each"),
    "neighbour": Figure("bytes of each of its neighbours and habits", SHELL,
                        r"in every process \d+ bytes each, and (\d+) a neighbour"),
    "resume": Figure("s a user to resume, on 8 partitions of the store", RUNBOOK,
                     r"about (\d+) s more for ([\d,]+) users"),
    "door_slates": Figure("slates/s that one door gives out, on a busy machine", DOOR, r"([\d,]+) slates a second"),
    "door_events": Figure("events/s that one door takes, on a busy machine", DOOR, r"or ([\d,]+) events a second"),
    "event": Figure("the event of the README, whose bytes are counted", "README.md", r'(\{"event_id": "e-1"[^}]+\}\})'),
}  # fmt: skip
"""By name; `event` is text, of which the length is taken."""
STORED_USERS, CROWD = 200_000, 20_000
"""Users behind two of the figures, named in their expressions."""
SLATES_AN_EVENT = 0.25
"""As in the benchmark."""
EPOCH_S = 5
"""EDDY_RECOVERY__EPOCH_INTERVAL_S, by default."""
REPLICAS = 3
"""Copies that a broker keeps: EDDY_TOPICS__REPLICATION in deploy/kubernetes."""
DAY_S, EVENT_DAYS = 86_400, 7
"""The retention of `events`, by default."""


class Load(NamedTuple):
    """What is asked for: chosen, not measured."""

    events: float
    """A second."""
    users: float
    """Of whom a profile is kept."""
    items: float = 100_000
    neighbours: float = 50
    """Of an item, neighbours and habits together; the benchmark's number."""


LOADS = (Load(10_000, 1_000_000), Load(100_000, 10_000_000), Load(1_000_000, 100_000_000))


def measured() -> dict[str, float]:
    """Read every figure."""
    text = re.search(FIGURES["event"].found, (ROOT / "README.md").read_text().replace("\n ", ""))
    if text is None:
        raise LookupError("README.md shows no event any more")
    numbers = {name: figure.read() for name, figure in FIGURES.items() if name != "event"}
    return {**numbers, "event": float(len(text[1].encode()))}


def sized(load: Load, of: dict[str, float]) -> list[tuple[str, str]]:
    """Work out what a load needs: (what, how much) by line."""
    slates = SLATES_AN_EVENT * load.events
    recommend = ceil(load.events / (of["recommend"] * of["recovery"]))
    learn = ceil(load.events / of["learn"])
    table = load.items * (of["row"] + load.neighbours * of["neighbour"])
    user = 1e6 * (of["crowd"] - of["base"]) / CROWD
    stored = 1e6 * of["stored"] / STORED_USERS
    event_bytes, slate_bytes = load.events * of["event"], slates * of["slate"]
    return [
        ("users, items", f"{load.users:,.0f}, {load.items:,.0f}"),
        ("slates/s", f"{slates:,.0f}"),
        ("`recommend`: processes, each with a core of its own", f"{recommend:,}"),
        ("`learn`: the same", f"{learn:,}"),
        ("`evaluate`", "not measured"),
        ("partitions of `events`, at least", f"{max(recommend, learn):,}"),
        ("`recommend`: memory of the users, all processes, GB", f"{load.users * user / 1e9:,.1f}"),
        ("`recommend`: memory besides, a process, GB", f"{(1e6 * of['base'] + table) / 1e9:,.2f}"),
        ("`recommend`: its store, GB", f"{load.users * stored / 1e9:,.1f}"),
        ("`recommend`: written to it, at most, MB/s", f"{load.events * of['snapshot'] / 1e6:,.0f}"),
        ("`recommend`: resume on 8 files, minutes", f"{load.users * of['resume'] / 60:,.1f}"),
        ("events and slates written, before replicas and lz4, MB/s", f"{(event_bytes + slate_bytes) / 1e6:,.1f}"),
        ("events kept for a week in 3 copies, before compression, TB",
         f"{EVENT_DAYS * DAY_S * REPLICAS * event_bytes / 1e12:,.1f}"),
        ("newest slates kept in 3 copies, before lz4, GB", f"{REPLICAS * load.users * of['slate'] / 1e9:,.0f}"),
        ("each door: slates that it follows, MB/s", f"{slate_bytes / 1e6:,.1f}"),
        ("doors, where all events came through them", f"{ceil(load.events / of['door_events']):,}"),
        ("doors, where each slate is asked for once", f"{ceil(slates / of['door_slates']):,}"),
    ]  # fmt: skip


def tables(loads: Sequence[Load] = LOADS) -> tuple[str, str]:
    """Write the figures, and what they come to."""
    of = measured()
    sources = [(FIGURES[name].what, f"{value:,.6g}", f"`{FIGURES[name].file}`") for name, value in of.items()]
    lines = [sized(load, of) for load in loads]
    needs = [(line[0][0], *(value for _, value in line)) for line in zip(*lines, strict=True)]
    return (
        table(("measured", "figure", "where it stands"), sources),
        table(("events/s", *(f"{load.events:,.0f}" for load in loads)), needs),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What a load needs, by measured figures.")
    parser.add_argument("--events", type=float, help="a second")
    parser.add_argument("--users", type=float, help="of whom a profile is kept")
    parser.add_argument("--items", type=float, default=Load._field_defaults["items"])
    parser.add_argument("--neighbours", type=float, default=Load._field_defaults["neighbours"], help="of an item")
    given = parser.parse_args()
    loads = LOADS
    if given.events and given.users:
        loads = (Load(given.events, given.users, given.items, given.neighbours),)
    sys.stdout.write("\n\n".join(tables(loads)) + "\n")


if __name__ == "__main__":
    main()
