"""Attribution read literally: all of the past lies open, each event looks for its impression."""

from models.config import AttributionConfig
from models.messages import Event
from models.numeric.ids import hash64
from models.online.outcome import ShownSlate

Impressions = dict[tuple[str, str], int]
"""Slate and item to when it was shown."""


def holds(slate: ShownSlate, event: Event) -> bool:
    named = event.recommendation_id in {None, slate.recommendation_id}
    return named and any(item.item_id == event.item_id for item in slate.items)


def newest(found: list[tuple[int, ShownSlate]]) -> ShownSlate | None:
    """Take the slate with the newest impression, of those the one made last."""
    order = [(at, slate.created_at, hash64(slate.recommendation_id)) for at, slate in found]
    return found[order.index(max(order))][1] if found else None


def read_impressions(slates: list[ShownSlate], events: list[Event], config: AttributionConfig) -> Impressions:
    if config.impressions == "slate":
        return {(slate.recommendation_id, item.item_id): slate.created_at for slate in slates for item in slate.items}
    impressions: Impressions = {}
    for event in events:
        if event.event_type == "impression":
            near = [slate for slate in slates if 0 <= event.timestamp - slate.created_at <= 1_000 * config.wait_s]
            if slate := newest([(slate.created_at, slate) for slate in near if holds(slate, event)]):
                key = slate.recommendation_id, event.item_id
                impressions[key] = min(event.timestamp, impressions.get(key, event.timestamp))
    return impressions


def read_literally(
    slates: list[ShownSlate], events: list[Event], config: AttributionConfig
) -> set[tuple[str, str, int, tuple[str, ...]]]:
    """Say of each impression: slate, item, when, and the types of its feedback."""
    impressions = read_impressions(slates, events, config)
    feedback: dict[tuple[str, str], list[Event]] = {key: [] for key in impressions}
    for event in sorted(events, key=lambda event: (event.timestamp, hash64(event.event_id))):
        window = 1_000 * config.windows_s.get(event.event_type, config.window_s)
        found = [
            (at, slate)
            for slate in slates
            if (at := impressions.get((slate.recommendation_id, event.item_id))) is not None
            and holds(slate, event)
            and at <= event.timestamp <= at + window
        ]
        if event.event_type != "impression" and (cause := newest(found)):
            feedback[cause.recommendation_id, event.item_id].append(event)
    return {(*key, at, tuple(e.event_type for e in feedback[key])) for key, at in impressions.items()}
