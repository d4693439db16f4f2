"""What an experiment declares, and the rules that a declaration keeps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import isfinite
from typing import Annotated, Literal

import msgspec
import xxhash
from msgspec import Meta

from models.messages import Id
from models.names import DEFAULT_PLACEMENT, MetricName
from models.strategy import LATER_FIELDS, LATER_RULE_FIELDS, LATER_SOURCES, Share, Strategy, default_sources

Step = str | int
"""Of a path into a declaration: a field's name or an index of a list."""

DAY_S = 86_400
TUNED_AT = 5_000
"""Users at which the intervals are tightest, by default."""

VariantWeight = Annotated[float, Meta(gt=0, le=1_000_000)]
Holdback = Annotated[float, Meta(ge=0, le=0.5)]
Quantile = Annotated[float, Meta(gt=0, le=1)]
LESS_IS_BETTER: frozenset[MetricName] = frozenset({"latency_ms"})
"""Metrics of which less is good; of the others more is."""


class DeclarationError(ValueError):
    """A declaration breaks a rule.

    Parameters
    ----------
    text : what is wrong and how to fix it.
    path : steps from the object that was being made to the part that is wrong.
    """

    def __init__(self, text: str, path: Sequence[Step] = ()) -> None:
        super().__init__(text)
        self.path = tuple(path)


@dataclass(frozen=True, slots=True)
class Rules:
    """When a verdict may fall.

    Raises
    ------
    ValueError : a level is not between 0 and 1, or delta is negative.
    """

    alpha: float = 0.05
    """Probability that an experiment of equal variants is ever called a winner or harmful."""
    delta: float = 0.01
    """A lift of at most this size, up or down, counts as no difference; 0.01 is one percent of the control's."""
    mismatch_alpha: float = 0.01
    """Probability that an experiment whose users fall as planned is ever called a mismatch."""
    tuned_at: float = TUNED_AT
    """Users at which the intervals are tightest."""
    min_users: int = 100
    """Of each variant, as effective as these (`models.experiments.judge.moments.Estimate.n`): below it the normal
    approximation says nothing."""

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and 0 < self.mismatch_alpha < 1):
            raise ValueError("alpha and mismatch_alpha lie between 0 and 1")
        if self.delta < 0:
            raise ValueError("delta is 0 or more")


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm of an experiment."""

    name: Id
    weight: VariantWeight
    """Share of the experiment's users, relative to the other variants."""
    strategy: Strategy
    """Complete in itself: what is left out has the defaults of `Strategy`."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A range of all users, so that experiments with disjoint ranges of one namespace never share a user."""

    name: Id
    start: Share
    end: Share
    """Users in [start, end) take part."""

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise DeclarationError(f"no user is in [{self.start}, {self.end}): let start be below end", ["end"])

    def overlaps(self, other: "Namespace") -> bool:
        """Tell whether a user can be in both."""
        return self.name == other.name and self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class TrafficBounds:
    """Between which shares a bandit may move a variant's traffic."""

    low: Share = 0.1
    high: Share = 0.9


@dataclass(frozen=True, slots=True)
class Analysis:
    """How an experiment is judged. It changes nobody's variant, so it is no part of the digest."""

    goal: MetricName = "ctr"
    """The metric that decides; the others are reported beside it, each at its own level."""
    rules: Rules = field(default_factory=Rules)
    stop: bool = False
    """Whether traffic should go to the better variant once it has been decided, and stay there."""
    holdback: Holdback = 0.05
    """Share of new users who get the other variants after a stop, so that the decision can go on being checked."""
    bandit: TrafficBounds | None = None
    """Shift traffic while the experiment runs, by Thompson sampling on the goal."""
    age_s: Annotated[int, Meta(ge=0)] | None = None
    """A user is judged so many seconds after the exposure, by what was done until then; 0: at once, by what has been
    done so far. By default a day where traffic may move, else 0."""
    guardrails: dict[MetricName, float] = field(default_factory=dict)
    """How much of a metric a winner may lose at most, as a share of the control's value: below 0 where more of the
    metric is good (`retention: -0.01`), above 0 where less is (`latency_ms: 0.05`)."""
    winsorise: Quantile = 0.99
    """A user's `value` counts up to this quantile of what users had spent before their exposure, among those who had
    spent anything; 1: all of it counts."""

    def __post_init__(self) -> None:
        for metric, margin in self.guardrails.items():
            less = metric in LESS_IS_BETTER
            if not (isfinite(margin) and (margin > 0 if less else margin < 0)):
                raise DeclarationError(
                    f"{metric} gets worse where it {'rises' if less else 'falls'}: "
                    f"let its margin be {'above' if less else 'below'} 0, as {'0.05' if less else '-0.05'} "
                    "for at most a twentieth of the control's",
                    ["guardrails", metric],
                )
        if self.goal in self.guardrails:
            raise DeclarationError(
                f"{self.goal} is the goal, which has to win: take it off the guardrails", ["guardrails", self.goal]
            )

    @property
    def moves_traffic(self) -> bool:
        """Whether a decision or a bandit may move the traffic."""
        return self.stop or self.bandit is not None

    @property
    def age_ms(self) -> int:
        """Return the age at which a user is judged; 0: as the outcomes come."""
        default_s = DAY_S if self.moves_traffic else 0
        return 1_000 * (default_s if self.age_s is None else self.age_s)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A comparison of strategies.

    Raises
    ------
    DeclarationError : fewer than two variants, two of one name, or bounds that no traffic can keep.
    """

    name: Id
    variants: tuple[Variant, ...]
    salt: Annotated[str, Meta(max_length=256)] = ""
    """Of the hash that puts users into buckets; empty: the name."""
    kind: Literal["split", "interleaving"] = "split"
    """`split` gives each user one variant; `interleaving` gives all the slates of two, merged."""
    coverage: Share = 1.0
    """Share of the users (of the namespace) that take part."""
    namespace: Namespace | None = None
    placements: Annotated[tuple[Id, ...], Meta(min_length=1)] = (DEFAULT_PLACEMENT,)
    """Whose slates it makes; users who take part get all others as if they did not."""
    analysis: Analysis = Analysis()

    def __post_init__(self) -> None:
        object.__setattr__(self, "salt", self.salt or self.name)
        if len(self.variants) < 2:
            raise DeclarationError(
                f"experiment {self.name!r} compares nothing: declare two variants or more", ["variants"]
            )
        if self.kind == "interleaving" and len(self.variants) != 2:
            raise DeclarationError(f"{self.name!r} interleaves two variants: declare two", ["variants"])
        if self.kind == "interleaving" and self.analysis.guardrails:
            raise DeclarationError(
                f"{self.name!r} shows each user both variants, so no metric is one variant's: take the guardrails away",
                ["analysis", "guardrails"],
            )
        lengths = [variant.strategy.n_items for variant in self.variants]
        if self.kind == "interleaving" and lengths[0] != lengths[1]:
            raise DeclarationError(
                f"{self.name!r} interleaves slates of {lengths[0]} and {lengths[1]} items: give both as many "
                "(n_items), or the longer one fills what the other leaves, and is preferred for that",
                ["variants", 1, "strategy", "n_items"],
            )
        repeated = _first_repeated(variant.name for variant in self.variants)
        if repeated is not None:
            raise DeclarationError(
                f"two variants of {self.name!r} are named {self.variants[repeated].name!r}: rename one",
                ["variants", repeated, "name"],
            )
        bounds, n = self.analysis.bandit, len(self.variants)
        if bounds is not None and not bounds.low <= 1 / n <= bounds.high:
            raise DeclarationError(
                f"{n} variants cannot share the traffic within [{bounds.low}, {bounds.high}]: "
                f"let low be at most 1/{n} and high at least 1/{n}",
                ["analysis", "bandit"],
            )

    def digest(self) -> str:
        """Hash all that decides who gets what: the declaration with its strategies' defaults, without its analysis.

        What strategies and experiments have learned to do since digests were first taken is left out where it is not
        asked for, or an upgrade would end every running experiment and assign its users again.

        Returns
        -------
        16 hexadecimal digits, the same in every process, others for any other declaration.

        Raises
        ------
        msgspec.ValidationError : a value is outside its type's bounds, in an experiment that was not decoded.
        """
        # Decoding makes 1 and 1.0 the same declaration, also for an experiment that was written in Python.
        canonical = msgspec.convert(msgspec.to_builtins(self), Experiment)
        assigning = msgspec.to_builtins(canonical)
        del assigning["analysis"]
        if canonical.placements == (DEFAULT_PLACEMENT,):
            del assigning["placements"]
        for variant in assigning["variants"]:
            strategy = variant["strategy"]
            for rule, name in product(strategy["rules"], LATER_RULE_FIELDS):
                if rule[name] is None:
                    del rule[name]
            for name, default in LATER_FIELDS.items():
                if strategy[name] == default:
                    del strategy[name]
            if strategy["sources"] == default_sources():
                for source in LATER_SOURCES:
                    del strategy["sources"][source]
        return xxhash.xxh3_64_hexdigest(msgspec.json.encode(assigning, order="sorted"))


def check_together(experiments: Sequence[Experiment]) -> None:
    """Check the rules that hold between experiments.

    Raises
    ------
    DeclarationError : two share a name, users of a namespace, or a salt (the second would sort users as the
        first does). The path begins with the later one's index.
    """
    for part in ("name", "salt"):
        repeated = _first_repeated(getattr(experiment, part) for experiment in experiments)
        if repeated is not None:
            shared = getattr(experiments[repeated], part)
            raise DeclarationError(f"two experiments have the {part} {shared!r}: give each its own", [repeated, part])
    for (_, first), (index, second) in combinations(enumerate(experiments), 2):
        if first.namespace and second.namespace and first.namespace.overlaps(second.namespace):
            raise DeclarationError(
                f"experiments {first.name!r} and {second.name!r} overlap in {second.namespace.name!r}, "
                f"[{first.namespace.start}, {first.namespace.end}) and "
                f"[{second.namespace.start}, {second.namespace.end}): make their ranges disjoint",
                [index, "namespace"],
            )


def _first_repeated(names: Iterable[str]) -> int | None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            return index
        seen.add(name)
    return None
