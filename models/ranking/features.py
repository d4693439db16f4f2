"""The features of each candidate: the ranker's inputs, logged on the slate, never recomputed."""

import numpy as np

from models.arrays import Floats, Int32s
from models.candidates.blend import Blended
from models.items import ItemTable
from models.kernels import kernel
from models.ranking.batch import SIGNALS, SOURCES, QueryBatch
from models.ranking.history_features import HISTORY_FEATURES, compare_with_history
from models.ranking.item_features import ITEM_FEATURES, describe_items
from models.ranking.session_features import SESSION_FEATURES, follow_session
from models.ranking.taste_features import TASTE_FEATURES, match_tastes

FEATURE_SET = "v2"
"""The name of this list of features; a change to FEATURES or to what one means needs a new name."""

BLEND_FEATURES = (
    *SOURCES,  # each source's score over the query's largest
    *(f"{source}_rank" for source in SOURCES),  # 1 / rank in the source's list
    "blend",  # the weighted mean of the sources' scores
)

FEATURES: tuple[str, ...] = (
    *BLEND_FEATURES,
    *ITEM_FEATURES,
    *HISTORY_FEATURES,
    *SESSION_FEATURES,
    *TASTE_FEATURES,
    *SIGNALS,
)


def featurise(batch: QueryBatch, table: ItemTable, blended: Blended) -> Floats:
    """Compute (B, C, F) features in the order of FEATURES, all finite; zeros where there is no candidate."""
    rows = blended.rows
    features = np.zeros((*rows.shape, len(FEATURES)), np.float32)
    _fill(rows, blended.scores, blended.source_scores, blended.source_ranks, batch.signals, features)
    describe_items(batch, table, rows, features, FEATURES.index(ITEM_FEATURES[0]))
    compare_with_history(batch, table, rows, features, FEATURES.index(HISTORY_FEATURES[0]))
    follow_session(batch, table, rows, features, FEATURES.index(SESSION_FEATURES[0]))
    match_tastes(batch, table, rows, features, FEATURES.index(TASTE_FEATURES[0]))
    return features


@kernel
def _fill(
    rows: Int32s,  # (B, C)
    blend: Floats,  # (B, C)
    source_scores: Floats,  # (B, C, S)
    source_ranks: Floats,  # (B, C, S)
    signals: Floats,  # (B, G)
    features: Floats,  # (B, C, F) written
) -> None:
    """Copy what the blend says to the first columns and what the query says to the last."""
    n_sources = source_scores.shape[2]
    shared = features.shape[2] - signals.shape[1]
    for b in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            if rows[b, c] < 0:
                break
            for s in range(n_sources):
                features[b, c, s] = source_scores[b, c, s]
                features[b, c, n_sources + s] = source_ranks[b, c, s]
            features[b, c, 2 * n_sources] = blend[b, c]
            for g in range(signals.shape[1]):
                features[b, c, shared + g] = signals[b, g]
