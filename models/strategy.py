"""A strategy: which candidates, which ranker, which rules. What the variants of an experiment differ in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta, to_builtins

from models.names import RankerName, SourceName, StageName
from models.rules import Rule, RuleError

Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0)]


def default_sources() -> dict[SourceName, float]:
    """Blend weights of the candidate sources."""
    return {
        "session_knn": 1.0,
        "sequential_rules": 0.5,
        "covisitation": 0.3,
        "two_step_rules": 0.5,
        "revisits": 0.3,
        "habits": 0.5,
        "content": 0.3,
        "trending": 0.1,
        "sequence": 0.5,
    }


@dataclass(frozen=True, slots=True)
class SessionSources:
    """Blend weights of the candidate sources once a session has come to so many acts."""

    from_acts: Annotated[int, Meta(ge=0)]
    sources: dict[SourceName, Weight]


@dataclass(frozen=True, slots=True)
class Worth:
    """What it is worth that an item comes to a stage."""

    weight: Weight = 1.0
    per: Literal["act", "price", "margin"] = "act"
    """What the weight is multiplied by: 1, or what the catalog says of the item."""


def default_worth() -> dict[StageName, Worth]:
    """Count clicks."""
    return {"click": Worth()}


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a slate is made, from candidates to the last position.

    Raises
    ------
    ValueError : no source has a weight above 0, sessions are not in rising order, or its rules do not go together.
    """

    sources: dict[SourceName, Weight] = field(default_factory=default_sources)
    """Blend weight of each candidate source, at least one above 0; one that is not named is off, and so is `sequence`
    where no sequence model serves (EDDY_SEQUENCE_MODEL)."""
    sources_by_session: tuple[SessionSources, ...] = ()
    """Other weights for longer sessions, the shortest first: those of the last length that a session has reached hold
    in the place of `sources`. `eddy train --model sources` fits them to a past."""
    ranker: RankerName = "blend"
    """`blend` keeps the order of the weighted sources; the others are learned, from a checkpoint or by `learn`, and
    `funnel` orders by `worth`."""
    worth: dict[StageName, Worth] = field(default_factory=default_worth)
    """What the ranker `funnel` orders by: the sum over these stages of weight, probability and value, so for
    `{"click": {"weight": 0.1}, "purchase": {"per": "margin"}}` the expected margin and a tenth of a click."""
    n_candidates: Annotated[int, Meta(ge=1, le=500)] = 100
    n_from_each: Annotated[int, Meta(ge=0, le=100)] = 5
    """So many of each source's best are candidates whatever the others say, all together at most half of them: a ranker
    cannot learn to trust a source whose items it never sees."""
    n_items: Annotated[int, Meta(ge=1, le=100)] = 10
    diversity: Share = 0.15
    """MMR's share of dissimilarity: 0 keeps the ranking, 1 ignores it."""
    exploration_slots: Annotated[int, Meta(ge=0, le=10)] = 1
    """Last positions, filled by sampling the other candidates in proportion to exp(z / temperature), z being the scores
    of the query's candidates on a scale of mean 0 and standard deviation 1: it means the same of any ranker's."""
    exploration_temperature: Annotated[float, Meta(gt=0)] = 1.0
    """Below 1 the best are drawn more often, above 1 all more alike."""
    swapped: Share = 0.0
    """Share of slates in which two neighbours above the drawn positions are exchanged, so that `learn` sees how much
    more a position is looked at than the one below it."""
    sampled: Share = 0.0
    """Share of slates that are drawn as a whole, each position as an exploration slot, so that `eddy evaluate-policy`
    can say what another strategy would earn. All that they were drawn from is logged on them, some 20 KB. Searches,
    lists of given candidates and interleaved slates are left alone."""
    cold_share: Share = 0.0
    """Share of slates on which one position, the last above the exploration slots, goes to a cold item: one that was
    shown less often than EDDY_LEARN__GRADUATES_AFTER says, and acted on less than `cold_acts`. It is drawn in
    proportion to exp(z / exploration_temperature), z being how well the items fit the user. Searches, lists of given
    candidates and interleaved slates are left alone. 0: new items are items like any other."""
    cold_most: Annotated[int, Meta(ge=1, le=100)] = 3
    """Where there is a `cold_share`: a slate holds at most so many cold items that nobody has ever acted on, that place
    included, unless nothing else is left. So whoever fills the catalog does not fill slates."""
    cold_acts: Annotated[float, Meta(gt=0)] = 5.0
    """With so many acts, as they have decayed at the long half-life, an item is not cold: other sources find it."""
    max_per_category: Annotated[int, Meta(ge=1)] = 5
    allow_seen: bool = False
    """Whether items that the user has already acted on may return."""
    allow_current: bool = False
    """Whether, where seen items may return, the item that the user is on may as well."""
    allow_owned: bool = False
    """Whether items that the user has bought may return."""
    max_impressions: Annotated[int, Meta(ge=1)] = 5
    """An item shown this often without a reaction rests until the impressions have decayed by half of one."""
    rules: tuple[Rule, ...] = ()
    """What is hidden, boosted, buried, pinned or bounded, by conditions on items and queries (`models.rules`)."""

    def __post_init__(self) -> None:
        if not all(any(weight > 0 for weight in sources.values()) for sources in self.every_sources):
            raise ValueError("no source has a weight above 0, so no item could be a candidate: give one a weight")
        lengths = [longer.from_acts for longer in self.sources_by_session]
        if lengths != sorted(set(lengths)):
            raise ValueError("`sources_by_session` is in no rising order of `from_acts`, or names one twice: sort it")
        if not any(stage.weight > 0 for stage in self.worth.values()):
            raise ValueError("no stage is worth anything, so the ranker `funnel` had no order: give one a weight")
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise RuleError("two rules have one name, and slates could not say which acted: rename one", ("rules",))
        if self.sampled and any(rule.kind in ("pin", "quota") for rule in self.rules):
            raise RuleError(
                "a slate that is drawn as a whole keeps no pins or quotas: set `sampled` to 0, or take them away",
                ("rules",),
            )

    @property
    def every_sources(self) -> tuple[dict[SourceName, Weight], ...]:
        """All weights that hold at some length of a session: `sources`, then those of longer and longer ones."""
        return self.sources, *(longer.sources for longer in self.sources_by_session)

    @property
    def asked_sources(self) -> frozenset[SourceName]:
        """Sources that have a weight above 0 at any length of a session."""
        return frozenset(name for sources in self.every_sources for name, weight in sources.items() if weight > 0)


def changed(strategy: Strategy, changes: Mapping[str, object]) -> dict[str, object]:
    """Lay what is said over a strategy, in values of JSON; who says what sources weigh means sessions of any length."""
    any_length: dict[str, object] = {"sources_by_session": []} if "sources" in changes else {}
    return {**to_builtins(strategy), **any_length, **changes}


LATER_FIELDS = {
    name: to_builtins(getattr(Strategy(), name))
    for name in (
        "swapped",
        "sampled",
        "worth",
        "rules",
        "n_from_each",
        "sources_by_session",
        "cold_share",
        "cold_most",
        "cold_acts",
    )
}
"""Fields that were added since experiments were first told apart by their digests, with their defaults; every new one
belongs here."""
LATER_RULE_FIELDS = ("half_km",)
"""Fields of a rule that were added since then, None by default."""
LATER_SOURCES: tuple[SourceName, ...] = ("habits", "sequence")
"""Sources that are on by default since then: an experiment that goes by the default sources keeps its digest."""
