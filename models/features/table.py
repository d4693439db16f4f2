"""The features of each candidate: the ranker's inputs, logged on the slate, never recomputed."""

import numpy as np

from models.candidates.blend import Blended
from models.candidates.scratch import scratch
from models.features.history import compare_contents, count_contacts
from models.features.item import describe_items
from models.features.session import compare_pairs, look_back
from models.features.taste import match_tastes
from models.items import ItemTable
from models.names import FEATURES, HISTORY_FEATURES, ITEM_FEATURES, SESSION_FEATURES, TASTE_FEATURES
from models.numeric.arrays import Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch

_ITEM = FEATURES.index(ITEM_FEATURES[0])
_HISTORY = FEATURES.index(HISTORY_FEATURES[0])
_SESSION = FEATURES.index(SESSION_FEATURES[0])
_TASTE = FEATURES.index(TASTE_FEATURES[0])


def featurise(batch: QueryBatch, table: ItemTable, blended: Blended) -> Floats:
    """Compute (B, C, F) features in the order of FEATURES, all finite; zeros where there is no candidate."""
    features = np.zeros((*blended.rows.shape, len(FEATURES)), np.float32)
    _featurise(
        blended.rows, blended.scores, blended.source_scores, blended.source_ranks, batch.signals,
        batch.at, batch.mean_price, batch.visit, table.half_life_long_ms / table.half_life_short_ms,
        table.popularity, table.created_at, table.price, batch.history, batch.history_weights, batch.n_session,
        batch.current, table.vectors, batch.impressions.starts, batch.impressions.rows, batch.impressions.weights,
        table.neighbours, table.rule_weights, table.rule_totals, table.covisit_weights, table.attributes,
        batch.interests.starts, batch.interests.attributes, batch.interests.weights,
        batch.preferences.starts, batch.preferences.attributes, batch.preferences.weights,
        scratch(table.n).sums, features,
    )  # fmt: skip
    return features


@kernel
def _featurise(
    rows: Int32s, blend: Floats, source_scores: Floats, source_ranks: Floats, signals: Floats,
    at: Int64s, mean_price: Floats, visit: Doubles, half_lives: float,
    popularity: Floats, created_at: Int64s, price: Floats, history: Int32s, history_weights: Floats, n_session: Int32s,
    current: Int32s, vectors: Int8s, shown_starts: Int64s, shown_rows: Int32s, shown_counts: Floats,
    neighbours: Int32s, rule_weights: Floats, rule_totals: Doubles, covisit_weights: Floats, item_attributes: Hash32s,
    interest_starts: Int64s, interest_attributes: Hash32s, interests: Floats,
    preference_starts: Int64s, preference_attributes: Hash32s, preferences: Floats,
    sums: Floats, features: Floats,
) -> None:  # fmt: skip
    """Fill all columns by one call, since each call from Python costs microseconds however few the queries are."""
    _fill(rows, blend, source_scores, source_ranks, signals, features)
    describe_items(rows, at, mean_price, popularity, visit, half_lives, created_at, price, features, _ITEM)
    compare_contents(rows, history, history_weights, vectors, features, _HISTORY)
    count_contacts(rows, history, shown_starts, shown_rows, shown_counts, sums, features, _HISTORY + 1)
    compare_pairs(
        rows, history, history_weights, n_session, neighbours, rule_weights, rule_totals, covisit_weights, popularity,
        visit, sums, features, _SESSION,
    )  # fmt: skip
    look_back(rows, history, current, n_session, sums, features, _SESSION + 4)
    match_tastes(
        rows, item_attributes, interest_starts, interest_attributes, interests,
        preference_starts, preference_attributes, preferences, features, _TASTE,
    )  # fmt: skip


@inline
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
