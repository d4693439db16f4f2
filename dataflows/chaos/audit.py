"""Counts, after the kills, what should be there once: slates, dead letters, assignments, and each user's events."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from dataflows.chaos.event_writer import Written
from dataflows.records import Record
from models.items import ItemTable


class _Slate(msgspec.Struct):
    user_id: str
    trigger_id: str
    n_events: int


@dataclass(slots=True)
class Findings:
    """What is not as it should be; a clean run has zeros alone."""

    lost: Counter[str] = field(default_factory=Counter)
    """Messages that are missing, by topic."""
    duplicated: Counter[str] = field(default_factory=Counter)
    """Messages that are there again, by topic."""
    state_jumps: int = 0
    """Slates whose count of the user's events is not one more than that of the slate before."""


def audit(
    sent: Written, slates: Iterable[Record], letters: Iterable[Record], assignments: Iterable[Record]
) -> Findings:
    """Compare what was sent with what came of it.

    Parameters
    ----------
    slates, letters, assignments : all committed records of the three topics, a partition's in their order.
    """
    found = Findings()
    decode = msgspec.json.Decoder(_Slate).decode
    times: Counter[str] = Counter()
    n_events: defaultdict[str, int] = defaultdict(int)
    for record in slates:
        slate = decode(record.value or b"")
        times[slate.trigger_id] += 1
        if times[slate.trigger_id] == 1:
            found.state_jumps += slate.n_events != n_events[slate.user_id] + 1
            n_events[slate.user_id] = slate.n_events
    _count(found, "recommendations", times, sent.events)
    _count(found, "dead-letters", Counter(record.key or b"" for record in letters), range(sent.n_bad))
    _count(found, "assignments", Counter(record.key or b"" for record in assignments), set(sent.events.values()))
    return found


def _count(found: Findings, topic: str, times: Counter[str] | Counter[bytes], expected: Iterable[object]) -> None:
    """Count what is missing or there again; what was expected differs in nothing but its number."""
    found.lost[topic] += max(len(list(expected)) - len(times), 0)
    found.duplicated[topic] += times.total() - len(times)


def tables_differ(one: ItemTable, other: ItemTable, tolerance: float = 0.02) -> int:
    """Count the items whose neighbours, weights or popularity are not the same in two tables.

    Parameters
    ----------
    tolerance : relative; weights travel in half precision, and the order of sums differs.
    """
    ids = sorted({*one.ids[: one.n], *other.ids[: other.n]})
    return sum(not _alike(_described(one, name), _described(other, name), tolerance) for name in ids)


def _described(table: ItemTable, item_id: str) -> dict[str, float]:
    """Return an item's numbers by what they are; empty where the table does not know it."""
    if item_id not in table.ids:
        return {}
    row = table.ids.index(item_id)
    numbers = {f"popularity/{w}": float(table.popularity[row, w]) for w in range(2)}
    for k, neighbour in enumerate(table.neighbours[row].tolist()):
        if neighbour >= 0:
            numbers[f"rule/{table.ids[neighbour]}"] = float(table.rule_weights[row, k])
            numbers[f"covisit/{table.ids[neighbour]}"] = float(table.covisit_weights[row, k])
    return numbers


def _alike(one: dict[str, float], other: dict[str, float], tolerance: float) -> bool:
    names = one.keys() | other.keys()
    return all(bool(np.isclose(one.get(name, 0.0), other.get(name, 0.0), rtol=tolerance, atol=1e-6)) for name in names)
