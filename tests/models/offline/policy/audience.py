"""Slates drawn as a whole, shown to users whose behaviour is known: what any strategy earns can be worked out."""

from base64 import b64encode
from collections.abc import Iterator

import numpy as np

from models.messages import Event
from models.names import FEATURE_SET, FEATURES, SOURCES
from models.numeric.arrays import Bools, Doubles, Floats, Int32s
from models.offline.policy.evaluate import Assumption, evaluate_policy
from models.offline.policy.rounds import LoggedCandidates, LoggedSlate, Round
from models.offline.policy.target import Order, TargetPolicy
from models.online.outcome import ShownItem
from models.rankers.inputs import Inputs
from models.serving.rerank import rerank
from models.strategy import Strategy
from tests.models.builders import NOW, AnItem, a_strategy, a_table

N_ITEMS, LENGTH, SLATES_A_USER = 12, 4, 4
EXAMINED = np.array([0.9, 0.6, 0.4, 0.3])
ITEMS = [AnItem(f"i{k}", category="abc"[k % 3] if k % 4 else "", vector=(k % 5, 3 - k % 4, 1)) for k in range(N_ITEMS)]
TABLE = a_table(ITEMS)
ROWS = np.array([TABLE.ids.index(item.item_id) for item in ITEMS], np.int32)
LOGGING = a_strategy(sampled=1.0, exploration_temperature=1.0, max_per_category=2, n_items=LENGTH)
BY_TASTE = a_strategy(
    sources={"trending": 1.0}, n_items=LENGTH, exploration_slots=1, diversity=0.2, max_per_category=2, swapped=0.2
)
"""Ranks by taste, and leaves much to chance."""
AS_LOGGED = a_strategy(n_items=2, max_per_category=2)
"""The order by which the log was drawn, and no chance."""
SERVED_BY, LIKED_BY = FEATURES.index("sequential_rules"), FEATURES.index("trending")


class ByTaste:
    """Ranks by the feature that users like."""

    def score(self, inputs: Inputs) -> Floats:
        return inputs.features[..., LIKED_BY]


class Audience:
    """N slates from N_ITEMS candidates each; users are alike within, and differ in how much they like anything.

    Parameters
    ----------
    cascade : users look on only until they have acted; otherwise each place is looked at by a chance of its own.
    """

    def __init__(self, n: int, seed: int, *, cascade: bool = False) -> None:
        self._rng = np.random.default_rng(seed)
        self.seed, self.cascade = seed, cascade
        self.features = self._rng.random((n, N_ITEMS, len(FEATURES))).astype(np.float16)
        eager = np.repeat(self._rng.normal(size=n // SLATES_A_USER), SLATES_A_USER)
        taste = 4 * self.features[:, :, LIKED_BY] - self.features[:, :, SERVED_BY] - 2.5 + eager[:, None]
        self.liked = 1 / (1 + np.exp(-taste.astype(float)))  # (N, C)
        self.scores = self.features[:, :, SERVED_BY].astype(np.float32) * 3

    @property
    def n(self) -> int:
        return len(self.liked)

    def chances(self, positions: Int32s) -> Doubles:
        """Return the (N, L) probabilities of an act at each place of slates."""
        liked = np.take_along_axis(self.liked, np.maximum(positions, 0), axis=1) * (positions >= 0)
        if not self.cascade:
            return liked * EXAMINED[: positions.shape[1]]
        unmoved = np.cumprod(1 - liked, axis=1)
        return liked * np.hstack([np.ones((self.n, 1)), unmoved[:, :-1]])

    def truth(self, strategy: Strategy, order: Order) -> float:
        """Return what a strategy earns a slate, by many draws of its slates and no draw of users."""
        of_features = Inputs.of_features(self.features.astype(np.float32))
        scores = self.scores if isinstance(order, str) else order.score(of_features)
        n_draws = 20 if strategy.exploration_slots else 1
        rows, n_items = np.tile(ROWS, (self.n, 1)), [strategy.n_items] * self.n
        values = [
            self.chances(rerank(rows, scores, n_items, seeds, strategy, TABLE).positions).sum(axis=1).mean()
            for seeds in np.random.default_rng(99).integers(0, 2**62, (n_draws, self.n)).tolist()
        ]
        return float(np.mean(values))

    def rounds(self) -> Iterator[Round]:
        """Draw the log's slates, and what users do."""
        rows = np.tile(ROWS, (self.n, 1))
        seeds = self._rng.integers(0, 2**62, self.n).tolist()
        drawn = rerank(rows, self.scores, [LENGTH] * self.n, seeds, LOGGING, TABLE)
        acted: Bools = self._rng.random((self.n, LENGTH)) < self.chances(drawn.positions)
        if self.cascade:
            liked = np.take_along_axis(self.liked, drawn.positions, axis=1)
            acted = self._rng.random(liked.shape) < liked
            acted &= np.cumsum(acted, axis=1) == 1
        for b in range(self.n):
            pool = LoggedCandidates(
                [item.item_id for item in ITEMS],
                drawn.logits[b].tolist(),
                TABLE.category[ROWS].tolist(),
                LOGGING.max_per_category,
                b64encode(self.features[b].tobytes()).decode(),
                [],
                list(SOURCES),
            )
            items = [
                ShownItem(f"i{c}", place, float(drawn.propensities[b, place]))
                for place, c in enumerate(drawn.positions[b].tolist())
            ]
            yield Round(
                a_logged_slate(f"r{self.seed}-{b}", f"u{b // SLATES_A_USER}", items, pool), acted[b].astype(float)
            )


def missed_by(
    assumption: Assumption, strategy: Strategy, order: Order, *, n: int, n_logs: int, cascade: bool = False
) -> dict[str, list[float]]:
    """Return, by estimator, how many standard errors each log's estimate is away from the truth."""
    missed: dict[str, list[float]] = {}
    for seed in range(n_logs):
        audience = Audience(n, seed, cascade=cascade)
        found = evaluate_policy(
            list(audience.rounds()), TargetPolicy(strategy, order, TABLE), assumption, examination=EXAMINED
        )
        truth = audience.truth(strategy, order)
        for name, value in found.estimates.items():
            missed.setdefault(name, []).append((value.value - truth) / value.error)
    return missed


def a_logged_slate(
    slate_id: str, user: str, items: list[ShownItem], pool: LoggedCandidates | None = None, at: int = NOW
) -> LoggedSlate:
    return LoggedSlate(
        slate_id, user, at, None, None, "blend", FEATURE_SET, items, sampled=0.5, sampled_from=pool
    )  # fmt: skip


def an_act(item: str, at: int, event_type: str = "click", user: str = "u") -> Event:
    return Event(f"{user}-{item}-{at}-{event_type}", user, item, event_type, at)
