"""The steps that reduce messages to what metrics need of them, by state key.

What is older than its user's erasure, and what was shown without consent, is left out. Tombstones say nothing that
`erasures` does not: they are for consumers of the topics.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream
from msgspec import Meta

from dataflows.codecs import Decoder, keyed
from dataflows.following.erasures import Erasures
from dataflows.plausible import Fault, Plausible
from dataflows.records import Record
from dataflows.steps.rest import Rested, Resting
from dataflows.steps.user_metrics import Observed
from models.credit import ANY_SLATE
from models.events import EventConfig
from models.experiments.assign.declaration import Experiment
from models.experiments.assign.traffic import planned_shares, weight_of
from models.experiments.judge.observations import Act, Exposure, Impression, SlateSent
from models.messages import Assignment, DeadLetter, Event, Id, Millis, Version, Words
from models.names import DEFAULT_PLACEMENT
from models.numeric.ids import hash64

MAX_UNDECLARED = 64
"""Declarations, beside those in force, of which users are counted, in case they come back: each is a key of state."""

Keyed = tuple[str, Observed]
"""By state key."""


class ObservedItem(msgspec.Struct):
    """What metrics need of a slate's item."""

    item_id: Id


class ObservedSlate(msgspec.Struct):
    """What metrics need of a slate."""

    recommendation_id: Id
    user_id: Id
    created_at: Millis
    trigger_id: Id
    items: Annotated[list[ObservedItem], Meta(max_length=1_000)]
    learned_until: Millis = 0
    teams: list[Annotated[int, Meta(ge=0, le=1)]] | None = None
    model_version: Words = ""
    rival_version: Words | None = None
    consent: bool = True
    novelty: Annotated[float, Meta(ge=-1, le=1)] | None = None
    placement: Id | None = None
    version: Version = 1


def observe_events(
    step_id: str,
    records: Stream[Record],
    decode: Callable[[list[Record]], list[Event | DeadLetter]],
    settings: EventConfig,
    counts: Counter[str],
    erasures: Erasures,
    resting: Resting | None = None,
) -> KeyedStream[Observed | Rested]:
    """Decode events into acts and impressions; leave out those without consent and those of negative weight.

    Bad messages are only counted here, by reason: `recommend` writes their dead letters. Who has rested is told so.
    """

    def mapper(batch: list[Record]) -> list[tuple[str, Observed | Rested]]:
        found: list[tuple[str, Observed | Rested]] = [] if resting is None else [*resting.due()]
        for event, record in zip(decode(batch), batch, strict=True):
            if isinstance(event, DeadLetter):
                counts[event.reason] += 1
                continue
            key = erasures.keys(event.user_id)
            if erasures.covers(key, event.timestamp, record.timestamp):
                counts["before_erasure"] += 1
            elif not event.consent:
                counts["no_consent"] += 1
            elif (observation := observation_of(event, record, settings)) is not None:
                found.append((key, Observed(key, observation)))
        return found

    return op.flat_map_batch(step_id, records, mapper)


def observation_of(event: Event, record: Record, settings: EventConfig) -> Act | Impression | None:
    """Reduce an event; None where it is neither an impression nor an act of weight above 0."""
    slate = hash64(event.recommendation_id) if event.recommendation_id else ANY_SLATE
    event_hash, item = hash64(event.event_id), hash64(event.item_id)
    if event.event_type == "impression":
        return Impression(event.timestamp, event_hash, item, slate)
    if settings.weights[event.event_type] <= 0:
        return None
    return Act(
        at=event.timestamp,
        id=event_hash,
        item=item,
        value=event.value,
        is_goal=event.event_type in settings.owning_types,
        is_rating=event.event_type == "rating",
        slate=slate,
        written_at=record.timestamp,
    )


def observe_slates(
    step_id: str,
    records: Stream[Record],
    max_bytes: int,
    plausible: Plausible,
    counts: Counter[str],
    erasures: Erasures,
) -> KeyedStream[Observed]:
    """Decode slates.

    Bad messages are only counted here, by reason: `learn` writes their dead letters.
    """

    def check(slate: ObservedSlate, _record: Record) -> Fault:
        return plausible.time(slate.created_at)

    decode = keyed(Decoder("recommendations", ObservedSlate, max_bytes, check), lambda slate: slate.user_id)

    def mapper(batch: list[Record]) -> list[Keyed]:
        found: list[Keyed] = []
        for entry, record in zip(decode(batch), batch, strict=True):
            if isinstance(entry, DeadLetter):
                counts[entry.reason] += 1
                continue
            slate = entry[1]
            if slate is not None and slate.consent:
                key = erasures.keys(slate.user_id)
                found.append((key, Observed(key, _shown(slate, record))))
        return found

    return op.flat_map_batch(step_id, records, mapper)


def _shown(slate: ObservedSlate, record: Record) -> SlateSent:
    return SlateSent(
        at=slate.created_at,
        id=hash64(slate.recommendation_id),
        trigger=hash64(slate.trigger_id),
        items=tuple(hash64(item.item_id) for item in slate.items),
        novelty=None if slate.novelty is None else slate.novelty * len(slate.items),
        written_at=record.timestamp,
        learned_until=slate.learned_until,
        teams=None if slate.teams is None or len(slate.teams) != len(slate.items) else tuple(slate.teams),
        models=tuple(_ranker(version) for version in (slate.model_version, slate.rival_version) if version),
        placement=slate.placement or DEFAULT_PLACEMENT,
    )


def _ranker(model_version: str) -> str:
    """Take the version of the item tables off, of which there is another every few seconds."""
    return model_version.partition("@")[0]


def decode_assignments(
    step_id: str,
    records: Stream[Record],
    max_bytes: int,
    plausible: Plausible,
    declared: Mapping[str, Experiment],
    erasures: Erasures,
) -> Stream[Keyed | DeadLetter]:
    """Decode assignments; what does not decode is a dead letter.

    Parameters
    ----------
    declared : by digest; shares that are not one for each of their variants are a dead letter too.
    """
    undeclared: set[tuple[str, str]] = set()

    def check(assignment: Assignment, _record: Record) -> Fault:
        if assignment.digest not in declared:
            undeclared.add((assignment.experiment, assignment.digest))
            if len(undeclared) > MAX_UNDECLARED:
                undeclared.discard((assignment.experiment, assignment.digest))
                return "undeclared", f"of more than {MAX_UNDECLARED} declarations that are not in force"
        experiment, shares = declared.get(assignment.digest), assignment.shares
        if experiment is None or shares is None or len(shares) == len(experiment.variants):
            return plausible.time(assignment.assigned_at)
        return "wrong_shares", f"{len(shares)} shares; {experiment.name} has {len(experiment.variants)} variants"

    decode = keyed(Decoder("assignments", Assignment, max_bytes, check), lambda assignment: assignment.user_id)

    def mapper(batch: list[Record]) -> list[Keyed | DeadLetter]:
        found: list[Keyed | DeadLetter] = []
        for entry in decode(batch):
            if isinstance(entry, DeadLetter):
                found.append(entry)
            elif (assignment := entry[1]) is not None:
                key = erasures.keys(assignment.user_id)
                found.append((key, Observed(key, _exposed(assignment, declared))))
        return found

    return op.flat_map_batch(step_id, records, mapper)


def _exposed(assignment: Assignment, declared: Mapping[str, Experiment]) -> Exposure:
    shares = None if assignment.shares is None else tuple(assignment.shares)
    experiment = declared.get(assignment.digest)
    return Exposure(
        assignment.assigned_at,
        assignment.experiment,
        assignment.digest,
        assignment.variant,
        shares,
        _weight(assignment.variant, shares, experiment),
        0 if experiment is None else experiment.analysis.age_ms,
        assignment.bucket,
    )


def _weight(variant: str, shares: tuple[float, ...] | None, experiment: Experiment | None) -> float:
    """Return what a user counts for; where nobody knows what the shares were measured by, nothing."""
    names = [] if experiment is None else [known.name for known in experiment.variants]
    if shares is None:
        return 1.0
    if experiment is None or variant not in names:
        return 0.0
    return weight_of(planned_shares(experiment), shares, names.index(variant))
