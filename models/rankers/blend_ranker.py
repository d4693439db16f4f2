"""The floor under every ranker: the order of the weighted sources."""

from models.names import FEATURES
from models.numeric.arrays import Floats
from models.rankers.inputs import Inputs

_COLUMN = FEATURES.index("blend")


class BlendRanker:
    """Ranks by the blend of the candidate sources."""

    def score(self, inputs: Inputs) -> Floats:
        """Take the (B, C) blend out of the features."""
        return inputs.features[..., _COLUMN]
