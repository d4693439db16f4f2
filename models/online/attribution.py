"""Attribution: slates joined with impressions and feedback by the rule of `models.credit`.

One state a user. Slates and events may come in any order. A slate is decided once its longest window has closed and
the allowed lateness has passed, by all that is known then. So the order of arrival changes no outcome, and an item
without feedback becomes a negative when its windows have closed, not before.
"""

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from models.config import AttributionConfig
from models.credit import ANY_SLATE, ItemImpression, credited
from models.messages import Event
from models.numeric.arrays import Floats
from models.numeric.ids import hash64
from models.online.attribution_state import AttributionState, HistoryAct, PendingFeedback, PendingSlate
from models.online.outcome import ALL_STAGES, CLICKED, ClosedSlate, ImpressionOutcome, ShownSlate
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
    decides_clicks_early : whether a slate comes once more before its end, when the window of a click has closed while
        those of other acts are open.
    """

    __slots__ = (
        "acts",
        "closed_until",
        "config",
        "counts",
        "decides_clicks_early",
        "erased_until",
        "events",
        "events_at",
        "slates",
        "slates_at",
        "used",
        "weights",
    )

    def __init__(
        self,
        config: AttributionConfig,
        weights: Mapping[str, float],
        counts: Counter[str],
        *,
        decides_clicks_early: bool = False,
    ) -> None:
        self.config = config
        self.weights = weights
        self.counts = counts
        self.decides_clicks_early = decides_clicks_early and config.click_closes_after_ms < config.closes_after_ms
        self.slates: dict[int, PendingSlate] = {}
        """By the hash of the id, as events."""
        self.events: dict[int, PendingFeedback] = {}
        self.used: set[int] = set()
        """Events that were attributed to a slate that is closed."""
        self.acts: list[HistoryAct] = []
        """The oldest first."""
        self.events_at = 0
        self.slates_at = 0
        self.closed_until = 0
        """The latest time up to which slates were closed."""
        self.erased_until = 0
        """The erasure, Unix ms, that the user came back after; 0: none."""

    @property
    def n_waiting(self) -> int:
        """How many slates, events and acts are kept."""
        return len(self.slates) + len(self.events) + len(self.acts)

    def erase(self, requested_at: int) -> int:
        """Forget everything; say how much that was."""
        n = self.n_waiting
        self.slates, self.events, self.used, self.acts = {}, {}, set(), []
        self.events_at = self.slates_at = self.closed_until = 0
        self.erased_until = requested_at
        return n

    def show(self, slate: ShownSlate) -> Refusal | None:
        """Take a slate; return why it will have no outcome, None where it will."""
        slate_hash, config = hash64(slate.recommendation_id), self.config
        self.slates_at = max(self.slates_at, slate.created_at)
        if not slate.consent:
            return "no_consent"
        if not slate.items:
            return "empty"
        if slate_hash in self.slates:
            return "repeated"
        if slate.created_at + config.closes_after_ms <= self.closed_until:
            return "late"
        self.slates[slate_hash] = PendingSlate(
            slate_hash,
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
            slate.feature_rows().tobytes(),
            slate.placement,
            chances=tuple(item.chances for item in slate.items) if all(item.chances for item in slate.items) else (),
        )
        if len(self.slates) > config.max_slates:
            del self.slates[min(self.slates.values(), key=_made).id_hash]
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
        event_hash = hash64(event.event_id)
        if event_hash in self.events:
            return "repeated"
        item = hash64(event.item_id)
        slate = hash64(event.recommendation_id) if event.recommendation_id else ANY_SLATE
        self.events[event_hash] = PendingFeedback(
            event_hash, at, item, event.event_type, event.value or 0.0, slate, event.position
        )
        if weight > 0:
            insort(self.acts, HistoryAct(at, item))
            del self.acts[:-MAX_ACTS]
        if len(self.events) > MAX_EVENTS:
            self._drop(min(self.events.values(), key=_happened), "events_given_up")
        return None

    def next_closing_at(self) -> int | None:
        """Return the event time at which something of a slate is decided next, None where none waits."""
        return min((shown.created_at + self._due_after_ms(shown) for shown in self.slates.values()), default=None)

    def _due_after_ms(self, shown: PendingSlate) -> int:
        """Return how long after it was made something of a slate is decided next."""
        if self.decides_clicks_early and not shown.is_click_decided:
            return self.config.click_closes_after_ms
        return self.config.closes_after_ms

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
            shown_at = self._impressions()
            due = [
                shown for shown in self.slates.values() if shown.created_at + self._due_after_ms(shown) <= watermark_at
            ]
            due.sort(key=_made)
            made_until = watermark_at - self.config.closes_after_ms
            closed = [self._decide(shown, shown_at, is_final=shown.created_at <= made_until) for shown in due]
            for shown in due:
                if shown.created_at <= made_until:
                    del self.slates[shown.id_hash]
                else:
                    self.slates[shown.id_hash] = shown._replace(is_click_decided=True)
        self._expire(watermark_at)
        return [slate for slate in closed if slate.outcomes]

    def pack(self) -> bytes:
        """Pack the state for a snapshot."""
        return AttributionState(
            self.events_at,
            self.slates_at,
            self.closed_until,
            list(self.slates.values()),
            list(self.events.values()),
            sorted(self.used),
            self.acts,
            self.erased_until,
        ).pack()

    @classmethod
    def unpack(
        cls,
        packed: bytes,
        config: AttributionConfig,
        weights: Mapping[str, float],
        counts: Counter[str],
        *,
        decides_clicks_early: bool = False,
    ) -> "UserAttribution":
        """Restore what `pack` returned; the configuration may have changed since.

        Raises
        ------
        ValueError
            When the bytes are of another format, or damaged.
        """
        state = AttributionState.unpack(packed)
        user = cls(config, weights, counts, decides_clicks_early=decides_clicks_early)
        user.events_at, user.slates_at, user.closed_until = state.events_at, state.slates_at, state.closed_until
        user.slates = {shown.id_hash: shown for shown in state.slates}
        user.events = {seen.id_hash: seen for seen in state.events}
        user.used = set(state.used)
        user.acts, user.erased_until = state.acts, state.erased_until
        return user

    def _decide(self, shown: PendingSlate, shown_at: Mapping[int, Mapping[int, int]], *, is_final: bool) -> ClosedSlate:
        """Decide all of a slate; before its end only what was clicked, and its feedback waits on for the end."""
        impressions = shown_at[shown.id_hash]
        feedback: dict[int, list[PendingFeedback]] = {}
        newest_first: dict[int, list[ItemImpression]] = {}
        for seen in sorted(self._unattributed(impressions), key=_happened):
            if seen.item not in newest_first:
                newest_first[seen.item] = self._newest_first(seen.item, shown_at)
            window_ms = self.config.window_ms_of(seen.event_type)
            window_ms = window_ms if is_final else min(window_ms, self.config.click_window_ms)
            cause = credited(seen.at, seen.slate, newest_first[seen.item], window_ms)
            if cause is not None and cause[-1] == shown.id_hash:
                feedback.setdefault(seen.item, []).append(seen)
                if is_final:
                    self.used.add(seen.id_hash)
        if is_final:
            self.counts["not_shown"] += len(shown.items) - len(impressions)
        seen_at = self._positions(shown)
        features = np.frombuffer(shown.features, np.float16).astype(np.float32).reshape(len(shown.items), -1)
        return ClosedSlate(
            tuple(
                self._outcome(
                    shown,
                    index,
                    seen_at.get(item, shown.positions[index]),
                    impressions[item],
                    feedback.get(item, []),
                    features[index],
                )
                for index, item in enumerate(shown.item_hashes)
                if item in impressions
            ),
            tuple(act.item for act in reversed(self.acts) if act.at <= shown.created_at)[:N_HISTORY],
            shown.placement,
            ALL_STAGES & ~(CLICKED * shown.is_click_decided) if is_final else CLICKED,
            is_final,
        )

    def _outcome(
        self,
        shown: PendingSlate,
        index: int,
        position: int,
        at: int,
        feedback: list[PendingFeedback],
        features: Floats,
    ) -> ImpressionOutcome:
        weights = [self.weights[seen.event_type] for seen in feedback]
        liked = max(weights, default=0.0) > 0
        return ImpressionOutcome(
            shown.recommendation_id,
            shown.user_id,
            shown.experiment,
            shown.variant,
            shown.model_version,
            shown.items[index],
            position,
            1.0 if liked else 0.0,
            max(weights) if liked else abs(min(weights, default=-1.0)),
            sum(seen.value for seen in feedback),
            tuple(seen.event_type for seen in feedback),
            shown.propensities[index],
            features,
            at,
            self.config.impressions,
            shown.created_at + self.config.closes_after_ms,
            shown.chances[index] if shown.chances else (),
        )

    def _impressions(self) -> dict[int, dict[int, int]]:
        """Say when the items of each slate were shown: slate to item to event time."""
        if self.config.impressions == "slate":
            superseded = self._superseded()
            return {
                slate: {} if slate in superseded else dict.fromkeys(shown.item_hashes, shown.created_at)
                for slate, shown in self.slates.items()
            }
        shown_at: dict[int, dict[int, int]] = {slate: {} for slate in self.slates}
        holders: dict[int, list[ItemImpression]] = {}
        for seen in self.events.values():
            if seen.event_type == IMPRESSION:
                if seen.item not in holders:
                    holders[seen.item] = self._made_with(seen.item)
                # An impression is credited to a slate as an act is to an impression.
                found = credited(seen.at, seen.slate, holders[seen.item], self.config.wait_ms)
                if found is not None:
                    impressions = shown_at[found[-1]]
                    impressions[seen.item] = min(seen.at, impressions.get(seen.item, seen.at))
        return shown_at

    def _superseded(self) -> set[int]:
        """Find the slates that another one of their placement replaced before anybody could have looked at them.

        A slate that an act names, or on whose items somebody acted until the next one came, was looked at.
        """
        acts = [seen for seen in self.events.values() if seen.event_type != IMPRESSION]
        named = {seen.slate for seen in acts}
        replaced: set[int] = set()
        newest: dict[str | None, PendingSlate] = {}
        for shown in sorted(self.slates.values(), key=_made):
            before = newest.get(shown.placement)
            if (
                before is not None
                and shown.created_at - before.created_at < self.config.counts_after_ms
                and not any(
                    seen.item in before.item_hashes and before.created_at <= seen.at < shown.created_at
                    for seen in acts
                    if seen.slate == ANY_SLATE
                )
            ):
                replaced.add(before.id_hash)
            newest[shown.placement] = shown
        return replaced - named

    def _positions(self, shown: PendingSlate) -> Mapping[int, int]:
        """Say where the platform showed items, where its impressions say so: item to position."""
        if self.config.impressions == "slate":
            return {}
        return {
            seen.item: seen.position
            for seen in sorted(self.events.values(), key=_happened, reverse=True)
            if seen.event_type == IMPRESSION and seen.position is not None and seen.slate in (ANY_SLATE, shown.id_hash)
        }

    def _made_with(self, item: int) -> list[ItemImpression]:
        """Return the slates with an item, the newest first, as impressions at the time they were made."""
        found = (
            (shown.created_at, shown.created_at, shown.id_hash)
            for shown in self.slates.values()
            if item in shown.item_hashes
        )
        return sorted(found, reverse=True)

    def _newest_first(self, item: int, shown_at: Mapping[int, Mapping[int, int]]) -> list[ItemImpression]:
        """Return an item's impressions, the newest first."""
        found = (
            (impressions[item], self.slates[slate].created_at, slate)
            for slate, impressions in shown_at.items()
            if item in impressions
        )
        return sorted(found, reverse=True)

    def _unattributed(self, impressions: Mapping[int, int]) -> list[PendingFeedback]:
        """Return what may be feedback on the impressions and has not been attributed yet."""
        window_of = self.config.window_ms_of
        return [
            seen
            for seen in self.events.values()
            if seen.item in impressions
            and seen.event_type != IMPRESSION
            and 0 <= seen.at - impressions[seen.item] <= window_of(seen.event_type)
            and seen.id_hash not in self.used
        ]

    def _expire(self, watermark_at: int) -> None:
        """Forget events that no slate can need any more; count feedback that none has had."""
        kept_from = watermark_at - self.config.closes_after_ms
        for seen in [seen for seen in self.events.values() if seen.at <= kept_from]:
            self._drop(seen, "unattributed")

    def _drop(self, seen: PendingFeedback, reason: str) -> None:
        del self.events[seen.id_hash]
        if seen.id_hash in self.used:
            self.used.remove(seen.id_hash)
        elif seen.event_type != IMPRESSION:
            self.counts[reason] += 1


def _made(shown: PendingSlate) -> tuple[int, int]:
    return shown.created_at, shown.id_hash


def _happened(seen: PendingFeedback) -> tuple[int, int]:
    return seen.at, seen.id_hash
