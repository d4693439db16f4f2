"""Who gets which variant: a pure function of the user's id and the declared experiments.

The hashing is GrowthBook's, so that a platform that runs its SDKs computes the same buckets
(https://docs.growthbook.io/lib/build-your-own).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from struct import iter_unpack

from models.experiments.assign.declaration import Experiment, Namespace, check_together
from models.experiments.assign.traffic import Shares, Traffic
from models.names import DEFAULT_PLACEMENT
from models.strategy import Strategy

INTERLEAVED = "interleaved"
"""The variant of users who get the slates of two."""

N_BUCKETS = 10_000
FNV_OFFSET = 0x811C9DC5
FNV_PRIME = 0x01000193

Held = tuple[str, str]
"""Digest of the declaration and the variant that a user was assigned last."""
NOTHING: Held = ("", "")

Range = tuple[float, float]
"""Buckets in [start, end)."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What a user gets in an experiment."""

    experiment: str
    variant: str
    bucket: float
    """In [0, 1), in steps of 1/10,000."""
    digest: str
    """Of the experiment's declaration."""
    strategy: Strategy
    rival: Strategy | None = None
    """Of the second variant, where both are interleaved."""
    shares: Shares | None = None
    """By which the variant was chosen, where they were not the declared ones; None for one that was held before."""
    placements: tuple[str, ...] = (DEFAULT_PLACEMENT,)
    """Whose slates the experiment makes."""


def fnv1a_32(text: str) -> int:
    """Hash a text by 32-bit FNV-1a (Fowler, Noll and Vo) over its UTF-16 code units, as GrowthBook's JavaScript does.

    A character beyond the basic plane, an emoji say, is two code units.
    """
    state = FNV_OFFSET
    units = text.encode("utf-16-le", "surrogatepass")
    for (code,) in iter_unpack("<H", units):
        state = ((state ^ code) * FNV_PRIME) & 0xFFFFFFFF
    return state


def bucket_of(user_id: str, salt: str) -> float:
    """Place a user in [0, 1), in steps of 1/10,000: GrowthBook's hash version 2.

    Hashing the hash decorrelates the buckets of similar ids, which plain FNV does not.
    """
    return fnv1a_32(str(fnv1a_32(salt + user_id))) % N_BUCKETS / N_BUCKETS


def in_namespace(user_id: str, namespace: Namespace) -> bool:
    """Tell whether a user is in the namespace's range, by GrowthBook's hash version 1 (steps of 1/1,000)."""
    bucket = fnv1a_32(f"{user_id}__{namespace.name}") % 1_000 / 1_000
    return namespace.start <= bucket < namespace.end


def bucket_ranges(weights: Sequence[float], coverage: float) -> list[Range]:
    """Give each variant its range of buckets.

    A range starts at the sum of the shares before it, whatever the coverage, and spans `coverage` of its own
    share. So when coverage grows, ranges grow at their ends, and no user moves from one variant to another.

    Parameters
    ----------
    weights : above 0; their proportions count.
    coverage : in [0, 1].
    """
    total = sum(weights)
    ranges, start = [], 0.0
    for weight in weights:
        share = weight / total
        ranges.append((start, start + coverage * share))
        start += share
    return ranges


def choose(bucket: float, ranges: Sequence[Range]) -> int | None:
    """Find the range that holds the bucket; None when the coverage leaves it out."""
    return next((index for index, (start, end) in enumerate(ranges) if start <= bucket < end), None)


@lru_cache
def dealt_shares(weights: tuple[float, ...], coverage: float) -> tuple[float, ...]:
    """Return the shares of the users that `choose` gives each variant: by whole buckets, which a small coverage feels.

    Three equal variants of a thousandth of the users have 4, 3 and 3 of the 10,000 buckets. Where no bucket is dealt,
    the shares are those of the weights.
    """
    ranges = bucket_ranges(weights, coverage)
    dealt = Counter(choose(bucket / N_BUCKETS, ranges) for bucket in range(N_BUCKETS))
    counts = [dealt[v] for v in range(len(weights))]
    return tuple(count / sum(counts) for count in counts) if any(counts) else tuple(w / sum(weights) for w in weights)


def choose_by(bucket: float, ranges: Sequence[Range], shares: Sequence[float]) -> int | None:
    """Find the variant of a new user where the shares have moved; None when the coverage leaves the user out.

    The declared ranges say who takes part; put end to end they fill [0, 1), which the shares divide. So the shares
    never change who takes part, and the declared shares give what `choose` gives, up to rounding.
    """
    declared = choose(bucket, ranges)
    if declared is None:
        return None
    widths = [end - start for start, end in ranges]
    position = (sum(widths[:declared]) + bucket - ranges[declared][0]) / sum(widths)
    return bisect_right(list(accumulate(shares[:-1])), position)


class Experiments:
    """The experiments that run, in the order in which they may claim a user.

    Parameters
    ----------
    declared : the first whose namespace and coverage take a user decides, whatever its placements, so nobody is in two.

    Raises
    ------
    DeclarationError : two of them do not go together.
    """

    def __init__(self, declared: Sequence[Experiment] = ()) -> None:
        check_together(declared)
        self.declared = tuple(declared)
        self.traffic = Traffic(declared)
        """Shares of new users that results have moved."""
        self._running = [
            (
                experiment,
                experiment.digest(),
                bucket_ranges([v.weight for v in experiment.variants], experiment.coverage),
            )
            for experiment in declared
        ]

    def assign(self, user_id: str, at: int = 0, held: Held = NOTHING) -> Assigned | None:
        """Assign a user; None is in no experiment and gets the default strategy.

        Parameters
        ----------
        at : event time, which decides by which shares a new user is assigned.
        held : what the user was assigned last; under the same declaration it stays, however the shares move.
        """
        for experiment, digest, ranges in self._running:
            if experiment.namespace and not in_namespace(user_id, experiment.namespace):
                continue
            bucket = bucket_of(user_id, experiment.salt)
            shares = self.traffic.in_force(digest, at) if held[0] != digest else None
            index = choose(bucket, ranges) if shares is None else choose_by(bucket, ranges, shares)
            if index is not None and experiment.kind == "interleaving":
                first, second = experiment.variants
                return Assigned(
                    experiment.name, INTERLEAVED, bucket, digest, first.strategy, second.strategy,
                    placements=experiment.placements,
                )  # fmt: skip
            if index is not None:
                variant = experiment.variants[index]
                if held[0] == digest:
                    variant = next((known for known in experiment.variants if known.name == held[1]), variant)
                return Assigned(
                    experiment.name, variant.name, bucket, digest, variant.strategy, shares=shares,
                    placements=experiment.placements,
                )  # fmt: skip
        return None
