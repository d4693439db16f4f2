"""What the log says: slates, what they were drawn from, and what users did with them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias

import numpy as np
from msgspec import Meta

from models.config import AttributionConfig
from models.messages import Event, Id
from models.names import FEATURE_SET, FEATURES
from models.numeric.arrays import Doubles, Halves
from models.numeric.halves import unpack_halves
from models.online.attribution import UserAttribution
from models.online.outcome import ClosedSlate, ShownSlate
from models.strategy import Share

N_CANDIDATES = 1_000
"""Most that a slate is drawn from."""
MAX_LOGIT = 10_000.0
"""Standardised scores of that size need a temperature below a thousandth, by which nothing is left to chance. What a
place's probability costs grows with how far logits lie apart."""

Hash: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class LoggedCandidates:
    """What a slate was drawn from (`models.messages.SampledFrom`), as it is read back."""

    item_ids: Annotated[list[Id], Meta(max_length=N_CANDIDATES)]
    logits: list[Annotated[float, Meta(ge=-MAX_LOGIT, le=MAX_LOGIT)]]
    categories: list[Annotated[int, Meta(ge=0, lt=2**32)]]
    max_per_category: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    features: str
    history: list[Hash]
    sources: list[str]

    def feature_rows(self) -> Halves:
        """Return the (C, F) features.

        Raises
        ------
        ValueError : they are not as many, or no base64.
        """
        return unpack_halves(self.features, len(self.item_ids), len(FEATURES))

    @property
    def fault(self) -> str | None:
        """What is wrong with it; None where it is whole."""
        if not len(self.item_ids) == len(self.logits) == len(self.categories):
            return "a slate's candidates have not as many logits and categories"
        try:
            features = self.feature_rows()
        except ValueError:
            return f"a slate's candidates have not the {len(FEATURES)} features of the set {FEATURE_SET}"
        return None if np.isfinite(features).all() else "a feature of a slate's candidates is no finite number"


@dataclass(frozen=True, slots=True)
class LoggedSlate(ShownSlate):
    """What judging another strategy reads of a slate."""

    sampled: Share = 0.0
    sampled_from: LoggedCandidates | None = None

    @property
    def fault(self) -> str | None:
        """What is wrong with the candidates; None where it was not drawn, or of another release's features."""
        if self.sampled_from is None or self.feature_set != FEATURE_SET:
            return None
        if not {item.item_id for item in self.items} <= set(self.sampled_from.item_ids):
            return "a slate holds an item that is none of its candidates"
        if any(item.propensity <= 0 for item in self.items):
            return "a slate holds an item that cannot have been drawn: its propensity is 0"
        return self.sampled_from.fault


@dataclass(frozen=True, slots=True)
class Round:
    """A slate whose windows have closed, and what came of it."""

    slate: LoggedSlate
    rewards: Doubles
    """(L,) 1 where the user acted on the item, else 0."""


def rounds_of(
    slates: Iterable[LoggedSlate],
    events: Iterable[Event],
    config: AttributionConfig,
    weights: Mapping[str, float],
    counted: Collection[str] = (),
) -> Iterator[Round]:
    """Join the slates of strategies that draw some as a whole with what users did, as `learn` does.

    Every slate is a round, also one that the next replaced at once: which of them are would depend on what was shown.

    Parameters
    ----------
    weights : of each event type; above 0 it is an act.
    counted : only these types are rewarded; none: each act is.
    """
    rule = replace(config, seconds_to_count=0.0, lateness_s=0, max_slates=1_024)
    by_user: defaultdict[str, list[tuple[int, int, LoggedSlate | Event]]] = defaultdict(list)
    ends_at = 0
    for slate in slates:
        by_user[slate.user_id].append((slate.created_at, 1, slate))
        ends_at = max(ends_at, slate.created_at)
    for event in events:
        ends_at = max(ends_at, event.timestamp)
        if event.user_id in by_user:
            by_user[event.user_id].append((event.timestamp, 0, event))
    for messages in by_user.values():
        yield from _rounds_of_user(messages, ends_at, rule, weights, counted)


def _rounds_of_user(
    messages: list[tuple[int, int, LoggedSlate | Event]],
    ends_at: int,
    config: AttributionConfig,
    weights: Mapping[str, float],
    counted: Collection[str],
) -> Iterator[Round]:
    user = UserAttribution(config, weights, Counter())
    slates: dict[str, LoggedSlate] = {}
    messages.sort(key=lambda message: message[:2])
    for at, _, message in messages:
        yield from _closed(user.close(at), slates, counted)
        if isinstance(message, Event):
            user.take(message)
        else:
            slates[message.recommendation_id] = message
            user.show(message)
    yield from _closed(user.close(ends_at), slates, counted)


def _closed(closed: list[ClosedSlate], slates: dict[str, LoggedSlate], counted: Collection[str]) -> Iterator[Round]:
    for decided in closed:
        slate = slates.pop(decided.outcomes[0].recommendation_id)
        if not slate.sampled:
            continue
        rewards = {
            outcome.item_id: 1.0 if outcome.label and (not counted or set(counted) & set(outcome.feedback)) else 0.0
            for outcome in decided.outcomes
        }
        yield Round(slate, np.array([rewards.get(item.item_id, 0.0) for item in slate.items]))
