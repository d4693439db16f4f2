"""The floor under every ranker: the order of the weighted sources."""

from models.arrays import Floats
from models.ranking.features import FEATURES
from models.ranking.inputs import Inputs

_COLUMN = FEATURES.index("blend")


class BlendRanker:
    """Ranks by the blend of the candidate sources."""

    def score(self, inputs: Inputs) -> Floats:
        """Take the (B, C) blend out of the features."""
        return inputs.features[..., _COLUMN]
