"""One user's metrics as observations come in their order: the state behind every result."""

from math import log2
from typing import Literal, TypeAlias, get_args

from msgspec import Struct, field, msgpack

from models.config import ImpressionKind, OutcomeConfig
from models.credit import credited
from models.experiments.judge.metrics import INDEX_OF, METRICS
from models.experiments.judge.observations import Act, Exposure, Impression, Observation, SlateSent
from models.names import DEFAULT_PLACEMENT, MetricName

DAY_MS = 86_400_000
MAX_SLATES = 8
"""Newest slates of a user that an act can be attributed to."""
MAX_TRIGGERS = 8
MAX_VERSIONS = 8
"""Newest versions of rankers of which a user's slates are counted."""

CountName: TypeAlias = Literal["slates", "shown", "acted_on", "judged", "hits"]
COUNTS: tuple[CountName, ...] = get_args(CountName)
"""What is counted by a ranker's version: slates, items shown, those acted on; slates that an act judged, their hits."""
Versions: TypeAlias = dict[str, list[int]]
"""(5,) counts in the order of COUNTS, by version."""

Pairs = list[list[float]]
"""Numerator and denominator of each metric, in the order of METRICS."""


class Showing(Struct, array_like=True):
    """A slate and what has become of it."""

    id: int
    items: tuple[int, ...]
    shown_at: dict[int, int]
    """Item to the moment of its impression."""
    acted_on: list[int] = field(default_factory=list)
    """Shown items that an act was credited to."""
    is_judged: bool = False
    """Whether the act that came next is known."""
    teams: tuple[int, ...] | None = None
    """Which variant brought each item."""
    learned_until: int = 0
    """An act until this time may have been known when the slate was made."""
    models: tuple[str, ...] = ()
    """Versions of the rankers that made it, by team."""
    at: int = 0
    """When it was made; 0 where that is no impression."""
    is_seen: bool = False
    """Whether an act says that somebody looked at it."""
    placement: str = DEFAULT_PLACEMENT

    def model_of(self, item: int) -> str:
        """Name the version that brought an item."""
        return self.models[0 if self.teams is None else self.teams[self.items.index(item)]] if self.models else ""


def zero_pairs() -> Pairs:
    """Return a zero for each numerator and denominator."""
    return [[0.0, 0.0] for _ in METRICS]


class Journal(Struct, array_like=True):
    """What has become of a user's slates, since the newest exposure and before it."""

    exposed: Exposure | None = None
    during: Pairs = field(default_factory=zero_pairs)
    """Since the exposure; without one, since the first observation."""
    before: Pairs = field(default_factory=zero_pairs)
    """Until the first exposure to the experiment, from the exposure to another or the first observation on."""
    showings: list[Showing] = field(default_factory=list)
    """The oldest first."""
    triggers: list[tuple[int, int]] = field(default_factory=list)
    """Newest events that may cause a slate: id and record time."""
    versions: Versions = field(default_factory=dict)
    """What has become of the slates since the exposure, by the ranker's version; of the newest MAX_VERSIONS."""

    def copy(self) -> "Journal":
        """Copy all of it."""
        return msgpack.decode(msgpack.encode(self), type=Journal)

    def apply(
        self, observation: Observation, config: OutcomeConfig, impressions: ImpressionKind, counts_after_ms: int = 0
    ) -> None:
        """Take in the next observation; after the age at which the user is judged, none but an exposure counts.

        Parameters
        ----------
        counts_after_ms : a slate that the next one replaces earlier is no impression.
        """
        exposed = self.exposed
        is_over = exposed is not None and 0 < exposed.age_ms < observation.at - exposed.at
        if isinstance(observation, Act):
            if not is_over:
                self._act(observation, config)
            self.triggers = [*self.triggers[1 - MAX_TRIGGERS :], (observation.id, observation.written_at)]
        elif is_over and not isinstance(observation, Exposure):
            return
        elif isinstance(observation, SlateSent):
            self._show(observation, counts_after_ms, by_slate=impressions == "slate")
        elif isinstance(observation, Exposure):
            self._expose(observation)
        elif impressions == "event":
            self._see(observation)

    def forget_past(self) -> None:
        """Leave an exposure that comes too late without a past.

        Part of the past was the variant's own effect, and CUPED would take that effect out.
        """
        self.during, self.versions = zero_pairs(), {}

    def values(self) -> list[list[float]]:
        """Return the user's values of each metric (M, 4), as `models.experiments.judge.moments` takes them."""
        return [
            [*pair[:1], 1.0, *old[:1], 1.0] if metric.per_user else [*pair, *old]
            for metric, pair, old in zip(METRICS, self.during, self.before, strict=True)
        ]

    def _act(self, act: Act, config: OutcomeConfig) -> None:
        self._judge(act)
        self._find_seen(act)
        self._attribute(act, config.attribution_window_ms)
        self._add("activity", 1.0)
        if act.is_goal:
            self.during[INDEX_OF["conversion"]][0] = 1.0
            self._add("value", act.value or 0.0)
        if act.is_rating and act.value is not None:
            self._add("satisfaction", act.value, 1.0)
        if self.exposed is not None and DAY_MS <= act.at - self.exposed.at <= config.retention_ms:
            self.during[INDEX_OF["retention"]][0] = 1.0

    def _judge(self, act: Act) -> None:
        """Compare the slate that was in force with what the user did next."""
        if not self.showings or self.showings[-1].is_judged:
            return
        slate = self.showings[-1]
        slate.is_judged = True
        if act.at <= slate.learned_until:
            return
        rank = slate.items.index(act.item) + 1 if act.item in slate.items else 0
        for model in slate.models:
            self._count(model, "judged")
        if rank:
            self._count(slate.model_of(act.item), "hits")
        self._add("hit_rate", float(rank > 0), 1.0)
        self._add("mrr", 1 / rank if rank else 0.0, 1.0)
        self._add("ndcg", 1 / log2(1 + rank) if rank else 0.0, 1.0)

    def _attribute(self, act: Act, window_ms: int) -> None:
        """Credit an impression of the item, once (`models.credit`)."""
        impressions = [
            (slate.shown_at[act.item], index, slate.id)
            for index, slate in enumerate(self.showings)
            if act.item in slate.shown_at
        ]
        impressions.sort(reverse=True)
        found = credited(act.at, act.slate, impressions, window_ms)
        slate = None if found is None else self.showings[found[1]]
        if slate is not None:
            slate.is_seen = True
        if slate is None or act.item in slate.acted_on or act.at <= slate.learned_until:
            return
        slate.acted_on.append(act.item)
        self._count(slate.model_of(act.item), "acted_on")
        self._add("ctr", 1.0)
        if slate.teams is not None:
            self._add("preference", _preference(slate.teams[slate.items.index(act.item)]))

    def _see(self, seen: Impression) -> None:
        """Take an impression of one of the known slates: all were made before it, and any is recent enough."""
        holders = [(seen.at, index, slate.id) for index, slate in enumerate(self.showings) if seen.item in slate.items]
        found = credited(seen.at, seen.slate, reversed(holders), window_ms=0)
        slate = None if found is None else self.showings[found[1]]
        if slate is not None and seen.item not in slate.shown_at:
            slate.shown_at[seen.item] = seen.at
            self._count(slate.model_of(seen.item), "shown")
            self._add("ctr", 0.0, 1.0)

    def _supersede(self, shown: SlateSent, counts_after_ms: int) -> None:
        """Take a slate's impressions back that another one replaces in its place before anybody could look at it."""
        last = next((slate for slate in reversed(self.showings) if slate.placement == shown.placement), None)
        if last is not None and shown.at - last.at < counts_after_ms and not last.is_seen:
            self._add("ctr", 0.0, -float(len(last.shown_at)))
            self._count_shown(last, -1)
            last.shown_at = {}

    def _find_seen(self, act: Act) -> None:
        """Give a slate that was superseded its impressions back, where the platform says that the act came from it."""
        for slate in self.showings:
            if slate.id != act.slate or not slate.at:
                continue
            slate.is_seen = True
            if not slate.shown_at:
                slate.shown_at = dict.fromkeys(slate.items, slate.at)
                self._add("ctr", 0.0, float(len(slate.shown_at)))
                self._count_shown(slate)

    def _count_shown(self, slate: Showing, by: int = 1) -> None:
        for item in slate.shown_at:
            self._count(slate.model_of(item), "shown", by)

    def _show(self, shown: SlateSent, counts_after_ms: int, *, by_slate: bool) -> None:
        if by_slate:
            self._supersede(shown, counts_after_ms)
        showing = Showing(shown.id, shown.items, dict.fromkeys(shown.items, shown.at) if by_slate else {})
        showing.teams, showing.learned_until = shown.teams, shown.learned_until
        showing.at = shown.at if by_slate else 0
        showing.placement = shown.placement
        showing.models = shown.models if len(shown.models) == (1 if shown.teams is None else 2) else ()
        for model in showing.models:
            self._count(model, "slates")
        self._count_shown(showing)
        self.showings = [*self.showings[1 - MAX_SLATES :], showing]
        self._add("ctr", 0.0, float(len(showing.shown_at)))
        if shown.novelty is not None:
            self._add("novelty", shown.novelty, float(len(shown.items)))
        for trigger, written_at in self.triggers:
            # Both are the times of records, which their producers may have made up.
            if trigger == shown.trigger and 0 <= shown.written_at - written_at <= DAY_MS:
                self._add("latency_ms", float(shown.written_at - written_at), 1.0)

    def _expose(self, exposed: Exposure) -> None:
        if self.exposed is not None and self.exposed.arm == exposed.arm:
            return
        # Declared again, also by another name, an experiment that keeps its salt mostly gives its users the variant
        # that they had: that is no past of it, and CUPED would take its effect for what they had been before.
        if self.exposed is None or not (
            self.exposed.experiment == exposed.experiment or self.exposed.bucket == exposed.bucket >= 0
        ):
            self.before = self.during
        self.exposed, self.during, self.versions = exposed, zero_pairs(), {}
        # This strategy is not judged by what another one showed.
        self.showings = []

    def _count(self, model: str, what: CountName, by: int = 1) -> None:
        if not model:
            return
        if model not in self.versions and len(self.versions) == MAX_VERSIONS:
            del self.versions[next(iter(self.versions))]
        self.versions.setdefault(model, [0] * len(COUNTS))[COUNTS.index(what)] += by

    def _add(self, metric: MetricName, numerator: float, denominator: float = 0.0) -> None:
        pair = self.during[INDEX_OF[metric]]
        pair[0] += numerator
        pair[1] += denominator


def _preference(team: int) -> int:
    """Return what an act on an item counts for: 1 where the second ranking brought it, -1 where the first did."""
    return 2 * team - 1
