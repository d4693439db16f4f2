"""Judges the demo's slates by what each user really did next."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from models.messages import Event


@dataclass(slots=True)
class ReceivedSlate:
    """What the demo reads of a slate: a consumer takes what it needs and ignores the rest."""

    user_id: str
    trigger_id: str
    variant: str | None
    learned_until: int
    n_events: int
    items: list["SlateRow"]
    model_version: str = ""
    received_at: float = 0.0
    """Unix milliseconds at which the demo had it in hand."""


@dataclass(slots=True)
class SlateRow:
    """One item of a slate."""

    item_id: str
    reason: str
    source: str


decode_slate = msgspec.json.Decoder(ReceivedSlate).decode


@dataclass(slots=True)
class VariantScore:
    """What one variant has earned so far."""

    users: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    slates: int = 0
    judged: int = 0
    hits: int = 0
    refused: int = 0


class Judge:
    """Counts a hit where the next thing that a user rated stood on the slate made before it.

    A slate that was not in hand when the next event was written, or whose tables had already learned from that event's
    time on, counts as none.

    Parameters
    ----------
    n_items : items in the catalog, for coverage.
    """

    def __init__(self, n_items: int) -> None:
        self.n_items = n_items
        self.tallies: dict[str, VariantScore] = {}
        self.latencies_ms: list[float] = []
        self.n_events = self.n_slates = self.n_late = self.n_dead_letters = self.n_assignments = 0
        self.newest: dict[str, ReceivedSlate] = {}
        """By user."""
        self._written_at: dict[str, float] = {}
        self._last_event: dict[str, str] = {}

    def write(self, event: Event, at: float) -> ReceivedSlate | None:
        """Take an event at the moment it is written (Unix ms); returns the slate that predicted it, if one did."""
        self.n_events += 1
        self._written_at[event.event_id] = at
        before = self._last_event.get(event.user_id)
        self._last_event[event.user_id] = event.event_id
        slate = self.newest.get(event.user_id)
        if before is None:
            return None
        if slate is None or slate.trigger_id != before:
            self.n_late += 1
            return None
        tally = self._tally(slate)
        if slate.learned_until >= event.timestamp:
            tally.refused += 1
            return None
        tally.judged += 1
        hit = any(row.item_id == event.item_id for row in slate.items)
        tally.hits += hit
        return slate if hit else None

    def receive(self, slate: ReceivedSlate, at: float) -> None:
        """Take a slate at the moment it is in hand (Unix ms)."""
        self.n_slates += 1
        slate.received_at = at
        written_at = self._written_at.get(slate.trigger_id)
        if written_at is not None:
            self.latencies_ms.append(at - written_at)
        self.newest[slate.user_id] = slate
        tally = self._tally(slate)
        tally.slates += 1
        tally.users.add(slate.user_id)
        tally.items.update(row.item_id for row in slate.items)

    def _tally(self, slate: ReceivedSlate) -> VariantScore:
        return self.tallies.setdefault(slate.variant or "none", VariantScore())

    def latency(self, quantile: float, last: int = 0) -> float:
        """Return a quantile of event written -> slate in hand, in milliseconds, of all or the last so many slates."""
        return float(np.quantile(self.latencies_ms[-last:], quantile)) if self.latencies_ms else 0.0

    def report(self, seconds: float) -> dict[str, Any]:
        """Summarise: what `eddy demo --json` writes."""
        judged = sum(tally.judged + tally.refused for tally in self.tallies.values())
        return {
            "events": self.n_events,
            "slates": self.n_slates,
            "assignments": self.n_assignments,
            "dead_letters": self.n_dead_letters,
            "events_per_s": round(self.n_events / seconds, 1),
            "latency_ms": {f"p{q}": round(self.latency(q / 100), 1) for q in (50, 95, 99)},
            "refused_share": round(sum(t.refused for t in self.tallies.values()) / judged, 4) if judged else 0.0,
            "too_late": self.n_late,
            "variants": {
                name: {
                    "users": len(tally.users),
                    "slates": tally.slates,
                    "judged": tally.judged,
                    "hits": tally.hits,
                    "hit_rate": round(tally.hits / tally.judged, 4) if tally.judged else 0.0,
                    "coverage": round(len(tally.items) / self.n_items, 4),
                }
                for name, tally in sorted(self.tallies.items())
            },
        }
