"""What a ranker learns from a slate whose outcome is decided."""

import numpy as np

from models.names import FEATURES
from models.numeric.ids import hash64
from models.online.outcome import ClosedSlate
from models.rankers.inputs import SlateExample


def example_of(closed: ClosedSlate) -> SlateExample | None:
    """Reduce a closed slate to what a ranker learns from; None where not all FEATURES of this release were kept."""
    first = closed.outcomes[0]
    features = np.array([outcome.features for outcome in closed.outcomes], np.float16)
    if features.shape[1] != len(FEATURES):
        return None
    return SlateExample(
        hash64(first.recommendation_id),
        hash64(first.user_id),
        first.variant,
        first.closed_at,
        tuple(hash64(outcome.item_id) for outcome in closed.outcomes),
        closed.history,
        features.tobytes(),
        tuple(outcome.label for outcome in closed.outcomes),
        tuple(outcome.weight for outcome in closed.outcomes),
    )
