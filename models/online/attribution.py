"""Attribution: slates joined with impressions and feedback, inside a window measured from the impression.

One state a user. Slates and events may come in any order; nothing is decided before a slate's last window has
closed and the allowed lateness has passed, and then all that is known by then decides. So the order of arrival
changes no outcome, and an item without feedback becomes a negative when its windows have closed, not before.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from models.config import AttributionConfig
from models.messages import Event
from models.names import FEATURE_SET
from models.numeric.arrays import Floats
from models.numeric.ids import hash64
from models.online.attribution_state import HistoryAct, PendingFeedback, PendingSlate
from models.online.outcome import ClosedSlate, Outcome, ShownSlate
from models.rankers.inputs import N_HISTORY

IMPRESSION = "impression"
MAX_EVENTS = 1_024
"""Events of a user that wait at a time; more are given up, the oldest first, and counted."""
MAX_ACTS = 64
"""Newest acts kept, for the histories of slates that come later."""

Refusal: TypeAlias = Literal["empty", "repeated", "late", "no_consent", "no_feedback"]


class UserAttribution:
    """The slates of one user that wait for their windows to close, and what happened meanwhile.

    Parameters
    ----------
    config : windows and bounds.
    weights : of each event type; above 0 it makes a positive of that weight, below 0 a negative, 0 is no feedback.
    counts : what is not attributed is added to, by reason.
    """

    __slots__ = (
        "acts",
        "closed_until",
        "config",
        "counts",
        "events",
        "events_at",
        "slates",
        "slates_at",
        "used",
        "weights",
    )

    def __init__(self, config: AttributionConfig, weights: Mapping[str, float], counts: Counter[str]) -> None:
        self.config = config
        self.weights = weights
        self.counts = counts
        self.slates: dict[int, PendingSlate] = {}
        self.events: dict[int, PendingFeedback] = {}
        self.used: set[int] = set()
        """Names of events that were attributed to a slate that is closed."""
        self.acts: list[HistoryAct] = []
        self.events_at = 0
        self.slates_at = 0
        self.closed_until = 0
        """The latest time up to which slates were closed."""

    def show(self, slate: ShownSlate) -> Refusal | None:
        """Take a slate; return why it will have no outcome, None where it will."""
        name, config = hash64(slate.recommendation_id), self.config
        self.slates_at = max(self.slates_at, slate.created_at)
        if not slate.items:
            return "empty"
        if name in self.slates:
            return "repeated"
        if slate.created_at + config.closes_after_ms <= self.closed_until:
            return "late"
        keep = slate.feature_set == FEATURE_SET
        rows = [item.features for item in slate.items] if keep else []
        self.slates[name] = PendingSlate(
            name,
            slate.recommendation_id,
            slate.user_id,
            slate.created_at,
            slate.experiment,
            slate.variant,
            slate.model_version,
            tuple(item.item_id for item in slate.items),
            tuple(hash64(item.item_id) for item in slate.items),
            tuple(item.position for item in slate.items),
            tuple(item.propensity for item in slate.items),
            np.array(rows, np.float16).tobytes(),
        )
        if len(self.slates) > config.max_slates:
            del self.slates[min(self.slates.values(), key=lambda shown: (shown.created_at, shown.name)).name]
            self.counts["slates_given_up"] += 1
        return None

    def take(self, event: Event) -> Refusal | None:
        """Take an event; return why it can change no outcome, None where it may."""
        config, at = self.config, event.timestamp
        if not event.consent:
            return "no_consent"
        weight = self.weights.get(event.event_type, 0.0)
        is_impression = event.event_type == IMPRESSION
        self.events_at = max(self.events_at, at)
        if not weight and not (is_impression and config.impressions == "event"):
            return "no_feedback"
        if at + config.closes_after_ms <= self.closed_until:
            return "late"
        name = hash64(event.event_id)
        if name in self.events:
            return "repeated"
        item = hash64(event.item_id)
        slate = hash64(event.recommendation_id) if event.recommendation_id else 0
        self.events[name] = PendingFeedback(name, at, item, event.event_type, event.value or 0.0, slate)
        if weight > 0:
            self._remember(HistoryAct(at, item))
        if len(self.events) > MAX_EVENTS:
            self._drop(min(self.events.values(), key=lambda seen: (seen.at, seen.name)), "events_given_up")
        return None

    def next_closing_at(self) -> int | None:
        """Return the event time at which the next slate closes, None where none waits."""
        if not self.slates:
            return None
        return min(shown.created_at for shown in self.slates.values()) + self.config.closes_after_ms

    def close(self, watermark_at: int) -> list[ClosedSlate]:
        """Decide the slates whose windows have closed at a moment, the oldest first.

        Parameters
        ----------
        watermark_at : event time, Unix ms, up to which slates and events have come.
        """
        self.closed_until = max(self.closed_until, watermark_at)
        next_at = self.next_closing_at()
        closed: list[ClosedSlate] = []
        if next_at is not None and next_at <= watermark_at:
            made_until = watermark_at - self.config.closes_after_ms
            due = [shown for shown in self.slates.values() if shown.created_at <= made_until]
            shown_at = self._impressions()
            due.sort(key=lambda shown: (shown.created_at, shown.name))
            closed = [self._decide(shown, shown_at) for shown in due]
            for shown in due:
                del self.slates[shown.name]
        self._expire(watermark_at)
        return [slate for slate in closed if slate.outcomes]

    def _decide(self, shown: PendingSlate, shown_at: Mapping[int, Mapping[int, int]]) -> ClosedSlate:
        impressions = shown_at[shown.name]
        feedback: dict[int, list[PendingFeedback]] = {}
        causes: dict[int, list[tuple[int, int, int]]] = {}
        for seen in sorted(self._feedback_on(impressions), key=lambda seen: (seen.at, seen.name)):
            if seen.item not in causes:
                causes[seen.item] = self._newest_first(seen.item, shown_at)
            if self._cause(seen, causes[seen.item]) == shown.name:
                feedback.setdefault(seen.item, []).append(seen)
                self.used.add(seen.name)
        self.counts["not_shown"] += len(shown.items) - len(impressions)
        features = np.frombuffer(shown.features, np.float16).astype(np.float32).reshape(len(shown.items), -1)
        return ClosedSlate(
            tuple(
                self._outcome(shown, place, impressions[item], feedback.get(item, []), features[place])
                for place, item in enumerate(shown.hashes)
                if item in impressions
            ),
            tuple(act.item for act in reversed(self.acts) if act.at <= shown.created_at)[:N_HISTORY],
        )

    def _outcome(
        self, shown: PendingSlate, place: int, at: int, feedback: list[PendingFeedback], features: Floats
    ) -> Outcome:
        weights = [self.weights[seen.kind] for seen in feedback]
        liked = max(weights, default=0.0) > 0
        return Outcome(
            shown.recommendation_id,
            shown.user_id,
            shown.experiment,
            shown.variant,
            shown.model_version,
            shown.items[place],
            shown.positions[place],
            1.0 if liked else 0.0,
            max(weights) if liked else abs(min(weights, default=-1.0)),
            sum(seen.value for seen in feedback),
            tuple(seen.kind for seen in feedback),
            shown.propensities[place],
            features,
            at,
            self.config.impressions,
            shown.created_at + self.config.closes_after_ms,
        )

    def _impressions(self) -> dict[int, dict[int, int]]:
        """Say when the items of each slate were shown: slate to item to event time."""
        if self.config.impressions == "slate":
            return {shown.name: dict.fromkeys(shown.hashes, shown.created_at) for shown in self.slates.values()}
        shown_at: dict[int, dict[int, int]] = {name: {} for name in self.slates}
        for seen in self.events.values():
            if seen.kind == IMPRESSION and (name := self._slate_of(seen)) is not None:
                shown_at[name][seen.item] = min(seen.at, shown_at[name].get(seen.item, seen.at))
        return shown_at

    def _slate_of(self, impression: PendingFeedback) -> int | None:
        """Find the slate that an impression is of: the one it names, else the newest with the item."""
        holders = [
            (shown.created_at, shown.name)
            for shown in self.slates.values()
            if impression.item in shown.hashes
            and 0 <= impression.at - shown.created_at <= self.config.wait_ms
            and impression.slate in {0, shown.name}
        ]
        return max(holders)[1] if holders else None

    def _feedback_on(self, impressions: Mapping[int, int]) -> list[PendingFeedback]:
        """Return what may be feedback on the impressions and has not been attributed yet."""
        window_of = self.config.window_ms_of
        return [
            seen
            for seen in self.events.values()
            if seen.item in impressions
            and seen.kind != IMPRESSION
            and 0 <= seen.at - impressions[seen.item] <= window_of(seen.kind)
            and seen.name not in self.used
        ]

    def _newest_first(self, item: int, shown_at: Mapping[int, Mapping[int, int]]) -> list[tuple[int, int, int]]:
        """Return an item's impressions: when, when its slate was made, and which slate."""
        causes = [
            (impressions[item], self.slates[name].created_at, name)
            for name, impressions in shown_at.items()
            if item in impressions
        ]
        return sorted(causes, reverse=True)

    def _cause(self, seen: PendingFeedback, newest_first: list[tuple[int, int, int]]) -> int | None:
        """Find the slate that feedback goes to: the one it names, else the newest impression before it."""
        for at, _, name in newest_first:
            if at <= seen.at and seen.slate in {0, name}:
                return name if seen.at - at <= self.config.window_ms_of(seen.kind) else None
        return None

    def _remember(self, act: HistoryAct) -> None:
        place = len(self.acts)
        while place and self.acts[place - 1] > act:
            place -= 1
        self.acts.insert(place, act)
        if len(self.acts) > MAX_ACTS:
            del self.acts[0]

    def _expire(self, watermark_at: int) -> None:
        """Forget events that no slate can need any more; count feedback that none has had."""
        kept_from = watermark_at - self.config.closes_after_ms
        for seen in [seen for seen in self.events.values() if seen.at <= kept_from]:
            self._drop(seen, "unattributed")

    def _drop(self, seen: PendingFeedback, reason: str) -> None:
        del self.events[seen.name]
        if seen.name in self.used:
            self.used.remove(seen.name)
        elif seen.kind != IMPRESSION:
            self.counts[reason] += 1
