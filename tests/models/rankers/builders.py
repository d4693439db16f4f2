"""Made-up slates whose clicks follow a rule, for learners to find."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.names import FEATURES
from models.numeric.ids import hash64
from models.online.outcome import ALL_STAGES
from models.rankers.inputs import N_HISTORY, Inputs, Labelled, SlateExample

N_FEATURES = len(FEATURES)
BLEND = FEATURES.index("blend")
TOLD = [*range(14), BLEND, 14]
"""Columns that differ between items, however many there are: what learners find must not hang on that."""
LENGTH = 8
ITEMS = np.array([hash64(f"i-{k}") for k in range(20)])
USERS = np.array([hash64(f"u-{k}") for k in range(10)])


@dataclass(frozen=True)
class Moment:
    """A slate before anybody has looked at it."""

    features: Any
    items: Any
    user: int
    history: Any


Rule = Callable[[Moment], Any]
"""Gives each item of a slate the log-odds of its click."""


def by_feature(column: int, sign: float = 1.0) -> Rule:
    return lambda moment: sign * 6 * (moment.features[:, column] - 0.5) - 1


def by_pairing(moment: Moment) -> Any:
    """A user likes the items of the same parity."""
    return np.where((moment.items % 2 == 0) == (moment.user % 2 == 0), 2.0, -3.0)


def by_sequence(moment: Moment) -> Any:
    """After an even item an odd one is next, and the other way round."""
    return np.where((moment.items % 2 == 0) != (moment.history[0] % 2 == 0), 2.0, -3.0)


def some_slates(n: int, rule: Rule, seed: int = 0, length: int = LENGTH) -> list[SlateExample]:
    rng = np.random.default_rng(seed)
    slates = []
    for number in range(n):
        features = np.zeros((length, N_FEATURES), np.float16)
        features[:, TOLD] = rng.random((length, len(TOLD)))
        items = rng.choice(ITEMS, length, replace=False)
        user, history = rng.choice(USERS), rng.choice(ITEMS, 3)
        chance = 1 / (1 + np.exp(-rule(Moment(features.astype(np.float64), items, int(user), history))))
        labels = (rng.random(length) < chance).astype(float)
        slates.append(
            SlateExample(
                hash64(f"r-{seed}-{number}"),
                int(user),
                None,
                number,
                tuple(items.tolist()),
                tuple(history.tolist()),
                features.tobytes(),
                tuple(labels.tolist()),
                (1.0,) * length,
            )
        )
    return slates


def of_many_users(slates: list[SlateExample]) -> list[SlateExample]:
    """Let each slate be another user's: the slates of few users prove nothing of the others."""
    return [slate._replace(user=hash64(f"u-{slate.slate}")) for slate in slates]


def some_inputs(b: int = 3, c: int = 5, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    return Inputs(
        rng.random((b, c, N_FEATURES)).astype(np.float32),
        rng.choice(ITEMS, (b, c)),
        rng.choice(USERS, b),
        rng.choice(ITEMS, (b, N_HISTORY)),
    )


def ragged(labelled: Labelled, missing: int) -> Labelled:
    """Say of the last items of each slate that they are not there."""
    weights = labelled.weights.copy()
    weights[:, labelled.weights.shape[1] - missing :] = 0
    return Labelled(labelled.inputs, labelled.labels, weights)


def true_chances(features: Any) -> Any:
    """The stages of L items at their positions, (L, S): a click, and the later ones given a click."""
    logits = np.stack([3 * features[:, 2] - 3, 4 * features[:, 3] - 2, 4 * features[:, 4] - 3], axis=1)
    logits[:, 0] -= 0.8 * np.log1p(np.arange(len(features)))
    return 1 / (1 + np.exp(-logits))


def some_funnel_slates(
    n: int, seed: int = 0, decided: int = ALL_STAGES, more_clicks: float = 0.0
) -> list[SlateExample]:
    rng = np.random.default_rng(seed)
    slates = []
    for number in range(n):
        features = np.zeros((LENGTH, N_FEATURES), np.float16)
        features[:, TOLD] = rng.random((LENGTH, len(TOLD)))
        chances = true_chances(features.astype(np.float64))
        chances[:, 0] += more_clicks
        reached = rng.random((LENGTH, 3)) < chances
        reached[:, 1:] &= reached[:, :1]
        bits = (reached * (1 << np.arange(3))).sum(axis=1)
        slates.append(
            SlateExample(
                hash64(f"r-{seed}-{number}"), hash64(f"u-{seed}-{number}"), None, number,
                tuple(rng.integers(1, 10**9, LENGTH).tolist()), (), features.tobytes(),
                tuple(reached[:, 0].astype(float).tolist()), (1.0,) * LENGTH,
                stages=tuple(bits.tolist()), decided=decided,
            )
        )  # fmt: skip
    return slates
