"""What a ranker is: the features of a batch's candidates in, a score each out."""

from typing import Protocol

from models.arrays import Floats


class Ranker(Protocol):
    """Scores candidates, keeping nothing between two calls; a query's scores depend on that query alone."""

    def score(self, features: Floats) -> Floats:
        """Score (B, C, F) features, in the order of `models.ranking.features.FEATURES`, as (B, C) float32."""
