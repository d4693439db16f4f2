"""The floor under every ranker: the order of the weighted sources."""

from models.arrays import Floats
from models.ranking.features import FEATURES

_COLUMN = FEATURES.index("blend")


class BlendRanker:
    """Ranks by the blend of the candidate sources."""

    def score(self, features: Floats) -> Floats:
        """Take the (B, C) blend out of (B, C, F) features."""
        return features[..., _COLUMN]
