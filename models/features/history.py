"""What a candidate is beside what the user did: how like it, how often met, how it follows the running session."""

import numpy as np

from models.candidates.damped import SMOOTHING
from models.candidates.neighbours import Links
from models.features.bounds import clip, count_candidates, damp
from models.items.vectors import UNIT
from models.names import FEATURES, HISTORY_FEATURES, SESSION_FEATURES
from models.numeric.arrays import Doubles, Floats, Int8s, Int32s
from models.numeric.kernels import inline
from models.numeric.prefetch import AHEAD, prefetch_row
from models.query.ragged import Ragged
from models.query.users import LONG, Histories, liked_item, n_newest

_SIMILARITY, _N_SEEN, _N_IMPRESSIONS = map(FEATURES.index, HISTORY_FEATURES)
(
    _RULE_FROM_LAST, _RULE_FROM_SECOND, _COVISIT_WITH_LAST, _COVISIT_WITH_SECOND, _BACK, _N_IN_SESSION, _IS_CURRENT,
    _N_DISTINCT,
) = map(FEATURES.index, SESSION_FEATURES)  # fmt: skip
_N_SIMILAR = 15
_N_PAIRED = 2
"""Newest items that a candidate is compared with one by one; the columns of a kind lie side by side."""


@inline
def add_up_contents(
    history: Histories,
    b: int,
    vectors: Int8s,  # (N, D)
    content: Int32s,  # (D,) written
) -> float:
    """Add up what user b acted on last and did not dislike; return by what a product with it becomes a cosine."""
    content[:] = 0
    for r in range(_N_SIMILAR):
        item = liked_item(history, b, r)
        if item >= 0:
            for d in range(len(content)):
                content[d] += vectors[item, d]
    squares = 0.0
    for d in range(len(content)):
        squares += np.float64(content[d]) * content[d]
    return float(1 / (UNIT * np.sqrt(squares)) if squares > 0 else 0.0)


@inline
def likeness(vectors: Int8s, row: int, content: Int32s, scale: float) -> float:
    """Return the cosine of an item's content and such a sum."""
    dot = np.int32(0)
    for d in range(len(content)):
        dot += np.int32(vectors[row, d]) * content[d]
    return clip(dot * scale)


@inline
def compare_contents(
    rows: Int32s,  # (B, C)
    history: Histories,
    vectors: Int8s,  # (N, D)
    features: Floats,  # (B, C, F) written
) -> None:
    """Compare with the sum of the newest items that were not disliked; in integers, so exact in any order."""
    content = np.empty(vectors.shape[1], np.int32)
    for b in range(len(rows)):
        scale = add_up_contents(history, b, vectors, content)
        n = count_candidates(rows[b])
        for c in range(n):
            if c + AHEAD < n:
                prefetch_row(vectors, rows[b, c + AHEAD])
            features[b, c, _SIMILARITY] = likeness(vectors, rows[b, c], content, scale)


@inline
def count_contacts(
    rows: Int32s,  # (B, C)
    history: Histories,
    impressions: Ragged,
    contacts: Floats,  # (N,) cells
    features: Floats,  # (B, C, F) written
) -> None:
    """Count how often the user has acted on each, then how often it was shown without a reaction."""
    for b in range(len(rows)):
        n = count_candidates(rows[b])
        for row in history.rows[b]:
            if row >= 0:
                contacts[row] += 1
        for c in range(n):
            features[b, c, _N_SEEN] = damp(contacts[rows[b, c]])
        for row in history.rows[b]:
            if row >= 0:
                contacts[row] = 0
        for m in range(impressions.starts[b], impressions.starts[b + 1]):
            contacts[impressions.rows[m]] = impressions.weights[m]
        for c in range(n):
            features[b, c, _N_IMPRESSIONS] = damp(contacts[rows[b, c]])
        for m in range(impressions.starts[b], impressions.starts[b + 1]):
            contacts[impressions.rows[m]] = 0


@inline
def compare_pairs(
    rows: Int32s,  # (B, C)
    history: Histories,
    visit: Doubles,  # (B, 2) the weight of a visit at the query's moment
    links: Links,
    sums: Floats,  # (N,) cells
    features: Floats,  # (B, C, F) written
) -> None:
    """Say how often each candidate follows the last two items of the session, and goes with them."""
    popularity = links.popularity
    for b in range(len(rows)):
        n = count_candidates(rows[b])
        smoothing = SMOOTHING * visit[b, LONG]
        for r in range(n_newest(history, b, _N_PAIRED)):
            i = liked_item(history, b, r)
            if i < 0:
                continue
            total = links.rule_totals[i]
            first, end = links.starts[i], links.starts[i] + links.sizes[i]
            others = links.others[first:end]
            _spread(others, links.rules[first:end], sums)
            for c in range(n):
                features[b, c, _RULE_FROM_LAST + r] = sums[rows[b, c]] / total if total > 0 else 0.0
            _clear(others, sums)
            _spread(others, links.covisits[first:end], sums)
            own = popularity[i, LONG] + smoothing
            for c in range(n):
                both = sums[rows[b, c]]
                if both > 0:
                    shared = both / np.sqrt(own * (popularity[rows[b, c], LONG] + smoothing))
                    features[b, c, _COVISIT_WITH_LAST + r] = clip(shared)
            _clear(others, sums)


@inline
def _spread(others: Int32s, weights: Floats, sums: Floats) -> None:
    """Write an item's (M,) weights to its neighbours' cells."""
    for p in range(len(others)):
        sums[others[p]] = weights[p]


@inline
def _clear(others: Int32s, sums: Floats) -> None:
    """Clear the cells of an item's (M,) neighbours."""
    for other in others:
        sums[other] = 0


@inline
def look_back(
    rows: Int32s,  # (B, C)
    history: Histories,
    current: Int32s,  # (B,)
    sums: Floats,  # (N,) cells
    features: Floats,  # (B, C, F) written
) -> None:
    """Say where and how often each candidate was in the session, and how many different items that had."""
    for b in range(len(rows)):
        n = count_candidates(rows[b])
        met = history.rows[b, : min(history.n_session[b], history.rows.shape[1])]
        n_distinct = 0
        for item in met:
            if item >= 0:
                n_distinct += sums[item] == 0
                sums[item] += 1
        for c in range(n):
            features[b, c, _N_IN_SESSION] = damp(sums[rows[b, c]])
            features[b, c, _IS_CURRENT] = rows[b, c] == current[b]
            features[b, c, _N_DISTINCT] = damp(n_distinct)
        for r in range(len(met) - 1, -1, -1):
            if met[r] >= 0:
                sums[met[r]] = 1 / (r + 1)
        for c in range(n):
            features[b, c, _BACK] = sums[rows[b, c]]
        for item in met:
            if item >= 0:
                sums[item] = 0
