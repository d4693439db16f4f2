"""The strategy that is judged: how it would have ordered what each slate was drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from models.candidates.weights import blend_again
from models.items import ItemTable
from models.numeric.arrays import Floats, Int32s, Int64s
from models.numeric.ids import hash64, hash_all
from models.offline.policy.rounds import LoggedCandidates
from models.rankers.inputs import N_HISTORY, Inputs
from models.rankers.served import Ranker
from models.serving.rerank import rerank
from models.strategy import Strategy

N_DRAWS = 8
"""Slates made a round for a strategy that leaves something to chance: their mean is its own, without bias."""

Order: TypeAlias = Ranker | Literal["blend", "logged"]
"""By what candidates are ordered: a trained network, the strategy's weights of the sources, or as they were."""


@dataclass(frozen=True, slots=True)
class Pools:
    """What B slates were drawn from, padded to C candidates."""

    inputs: Inputs
    rows: Int32s
    """(B, C) of the table; -1 where there is no more."""
    logits: Floats
    """(B, C)"""

    @classmethod
    def of(cls, users: Sequence[str], pools: Sequence[LoggedCandidates], table: ItemTable) -> "Pools":
        """Lay them side by side; the table knows every item."""
        n, width = len(pools), max(len(pool.item_ids) for pool in pools)
        features = [pool.feature_rows().astype(np.float32) for pool in pools]
        items, histories = np.zeros((n, width), np.int64), np.zeros((n, N_HISTORY), np.int64)
        logits, rows = np.zeros((n, width), np.float32), np.full((n, width), -1, np.int32)
        padded = np.zeros((n, width, features[0].shape[1]), np.float32)
        for b, pool in enumerate(pools):
            size = len(pool.item_ids)
            padded[b, :size], logits[b, :size] = features[b], pool.logits
            items[b, :size] = hash_all(pool.item_ids)
            histories[b, : len(pool.history)] = pool.history[:N_HISTORY]
            rows[b, :size] = table.rows_of(items[b, :size])
        hashes = np.array([hash64(user) for user in users], np.int64)
        return cls(Inputs(padded, items, hashes, histories), rows, logits)


class TargetPolicy:
    """A strategy and what orders its candidates.

    Parameters
    ----------
    table : knows every item that was a candidate: categories, contents.
    """

    def __init__(self, strategy: Strategy, order: Order, table: ItemTable) -> None:
        self.strategy = replace(strategy, sampled=0.0)
        self._order = order
        self.table = table

    @property
    def n_draws(self) -> int:
        """How many slates are made a round: one, where nothing is left to chance."""
        return N_DRAWS if self.strategy.exploration_slots or self.strategy.swapped else 1

    @property
    def sources(self) -> set[str]:
        """What has to have brought candidates, for the strategy to be judged."""
        return {*self.strategy.asked_sources}

    def choose(self, pools: Pools, n_items: Sequence[int], seeds: Int64s) -> Int32s:
        """Make the slates that the strategy would make, by the re-ranker that serves.

        Parameters
        ----------
        n_items : (B,) places of each.
        seeds : (B,) one a slate.

        Returns
        -------
        (M, B, L) which candidate stands where; -1 after the last.
        """
        scores = self._scores(pools)
        rng = np.random.default_rng(seeds.astype(np.uint64))
        draws = rng.integers(0, 2**63, (self.n_draws, len(seeds)))
        return np.stack([
            rerank(pools.rows, scores, n_items, draw.tolist(), self.strategy, self.table).positions for draw in draws
        ])  # fmt: skip

    def _scores(self, pools: Pools) -> Floats:
        if self._order == "logged":
            return pools.logits
        if self._order == "blend":
            return blend_again(pools.inputs.features, self.strategy)
        return self._order.score(pools.inputs)
