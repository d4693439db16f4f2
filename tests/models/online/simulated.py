"""A simulated audience: it looks at a slate from the top, and clicks what it sees and likes. What it likes is known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.names import FEATURES
from models.numeric.ids import hash64
from models.rankers.inputs import Inputs, SlateExample
from models.rankers.served import Ranker

N_CANDIDATES = 100
N_ITEMS = 10
N_TOLD = 12
"""Features that differ between candidates; the blend is one more."""
BLEND_NOISE = 0.17
"""Standard deviation of what the blend adds to the mean of the four features that are liked."""
BLEND = FEATURES.index("blend")

Taste = Callable[[Any], Any]
"""Gives (..., F) features the log-odds that whoever looks at the item clicks it."""


def looks_at(position: Any, steepness: float = 1.0) -> Any:
    """Return the probability that a position, from 0, is looked at: 1 / (position + 1) ** steepness."""
    return 1.0 / (1.0 + np.asarray(position)) ** steepness


def linear_taste(features: Any) -> Any:
    """Like what scores high in the first four features."""
    return -3.2 + 1.6 * (features[..., :4].sum(-1) - 2.0)


def no_taste(features: Any) -> Any:
    """Click anything that is looked at, one time in ten."""
    return np.full(features.shape[:-1], -2.2)


@dataclass
class Audience:
    """Users who are shown slates of the best of their candidates.

    Parameters
    ----------
    taste : what they like.
    steepness : how fast they stop looking.
    n_users : among whom slates fall evenly.
    spread : standard deviation of how much more or less a user likes what the taste's first feature says.
    explored : last positions, filled by chance.
    """

    taste: Taste = linear_taste
    steepness: float = 1.0
    n_users: int = 500
    spread: float = 0.0
    explored: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.leanings = self.rng.normal(0, self.spread, self.n_users)
        self.n_made = 0

    def candidates(self, n: int, n_candidates: int = N_CANDIDATES) -> Any:
        """Draw (n, C, F) features."""
        features = np.zeros((n, n_candidates, len(FEATURES)), np.float32)
        features[..., :N_TOLD] = self.rng.random((n, n_candidates, N_TOLD), np.float32)
        noise = self.rng.standard_normal((n, n_candidates), np.float32)
        features[..., BLEND] = features[..., :4].mean(-1) + BLEND_NOISE * noise
        return features

    def serve(self, ranker: Ranker, n: int) -> Iterator[SlateExample]:
        """Show n slates by a ranker, and say what became of them."""
        features = self.candidates(n)
        order = np.argsort(-ranker.score(Inputs.of_features(features)), axis=1, kind="stable")
        for row, ranked in zip(features, order, strict=True):
            yield self._shown(row, ranked)

    def serve_few(self, n: int) -> Iterator[SlateExample]:
        """Show n slates of all their candidates, in any order: so that many runs are affordable."""
        for row in self.candidates(n, N_ITEMS):
            yield self._shown(row, np.arange(N_ITEMS))

    def click_probability(self, ranker: Ranker, n: int = 4_000) -> float:
        """Return the probability that something of a slate is clicked, were it served by this ranker alone."""
        features = self.candidates(n)
        order = np.argsort(-ranker.score(Inputs.of_features(features)), axis=1)[:, :N_ITEMS]
        best = np.take_along_axis(features, order[:, :, None], axis=1)
        seen = looks_at(np.arange(N_ITEMS), self.steepness)
        return float((1 - (1 - seen * _chance(self.taste(best))).prod(axis=1)).mean())

    def _shown(self, features: Any, ranked: Any) -> SlateExample:
        rng, number = self.rng, self.n_made
        self.n_made += 1
        user = int(rng.integers(self.n_users))
        sure = N_ITEMS - self.explored
        chosen = [*ranked[:sure].tolist(), *rng.choice(ranked[sure:], self.explored, replace=False).tolist()]
        shown = features[chosen].astype(np.float16)
        liked = _chance(self.taste(shown.astype(float)) + self.leanings[user] * (shown[:, 0].astype(float) - 0.5))
        labels = rng.random(N_ITEMS) < liked * looks_at(np.arange(N_ITEMS), self.steepness)
        return SlateExample(
            hash64(f"r-{self.seed}-{number}"),
            hash64(f"u-{user}"),
            None,
            number,
            tuple(chosen),
            (),
            shown.tobytes(),
            tuple(labels.astype(float).tolist()),
            (1.0,) * N_ITEMS,
        )


class Oracle:
    """Ranks by what the audience really likes."""

    def __init__(self, taste: Taste) -> None:
        self.taste = taste

    def score(self, inputs: Inputs) -> Any:
        """Score (B, C, F) features."""
        return self.taste(inputs.features)


def _chance(logits: Any) -> Any:
    return 1 / (1 + np.exp(-logits))
