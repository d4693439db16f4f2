"""Contributions with defaults, and the literal reading that the arrays have to agree with."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from models.counts.transitions import Contribution, Earlier, ItemAct
from models.numeric.ids import hash64

NOW = 1_700_000_000_000
SECOND = 1_000
DAY = 86_400_000


def an_act(
    item: str = "i-1",
    at: int = NOW,
    event: str | None = None,
    user: str = "u-1",
    session: str | None = None,
    weight: float = 1.0,
    segments: tuple[str, ...] = ("all",),
) -> ItemAct:
    return ItemAct(
        hash64(event or f"{user} {item} {at}"),
        hash64(user),
        hash64(item),
        item,
        at,
        weight,
        hash64(session) if session else 0,
        segments,
    )


def a_contribution(
    item: str = "i-1",
    *previous: str,
    at: int = NOW,
    weight: float = 1.0,
    user: str = "u-1",
    segments: tuple[str, ...] = ("all",),
    earlier: Iterable[tuple[str, int]] = (),
) -> Contribution:
    """`previous` and `earlier`, items with seconds, newest first."""
    acts = tuple(Earlier(hash64(name), gap_s) for name, gap_s in earlier)
    return Contribution(hash64(item), item, at, weight, hash64(user), segments, tuple(map(hash64, previous)), acts)


@dataclass
class LiteralRow:
    n: int = 0
    last_at: int = 0
    first_seen_at: int = 2**60
    actions: list[tuple[int, float]] = field(default_factory=list)
    rules: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    covisits: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def touch(self, at: int) -> None:
        self.n += 1
        self.last_at = max(self.last_at, at)


def read_literally(contributions: Iterable[Contribution]) -> dict[int, LiteralRow]:
    """Keep every single weight with its time, in dicts."""
    rows: dict[int, LiteralRow] = defaultdict(LiteralRow)
    for c in contributions:
        row = rows[c.item]
        row.touch(c.at)
        row.first_seen_at = min(row.first_seen_at, c.at)
        row.actions.append((c.at, c.weight))
        for steps, before in enumerate(c.previous, start=1):
            if before != c.item:
                rows[before].touch(c.at)
                row.touch(c.at)
                rows[before].rules[c.item].append((c.at, 1 / steps))
                rows[before].covisits[c.item].append((c.at, 1.0))
                row.covisits[before].append((c.at, 1.0))
    return rows


def decayed(weights: Iterable[tuple[int, float]], at: int, half_life_ms: int) -> float:
    return sum(weight * 2.0 ** ((then - at) / half_life_ms) for then, weight in weights)
