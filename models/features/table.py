"""The features of each candidate: the ranker's inputs, logged on the slate, never recomputed.

Each group of `models.names` has a kernel that fills its columns: the blend's, the item's and the query's signals here,
those beside the user's history and session in `history.py`, those beside the user's interests in `taste.py`.
"""

from typing import NamedTuple

import numpy as np

from models.candidates.blend import Blended
from models.candidates.neighbours import Links, links_of
from models.candidates.scratch import scratch
from models.features.bounds import clip, count_candidates, damp
from models.features.history import compare_contents, compare_pairs, count_contacts, look_back
from models.features.taste import match_tastes
from models.items import ItemTable
from models.names import BLEND_FEATURES, FEATURES, ITEM_FEATURES, SIGNALS
from models.numeric.arrays import Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch
from models.query.ragged import Ragged, Tastes
from models.query.users import LONG, SHORT, Histories

_BLEND, _SIGNALS = FEATURES.index(BLEND_FEATURES[-1]), FEATURES.index(SIGNALS[0])
_POPULARITY_SHORT, _POPULARITY_LONG, _TREND, _AGE, _IS_NEW, _PRICE_RATIO = map(FEATURES.index, ITEM_FEATURES)
_DAY_MS = 86_400_000


class Moment(NamedTuple):
    """What B queries say of the moment."""

    at: Int64s
    """(B,) Unix ms."""
    visit: Doubles
    """(B, 2) what one visit at the query's moment weighs, in landmark units of both half-lives."""
    mean_price: Floats
    """(B,) 0 unknown."""
    current: Int32s
    """(B,) row of the item that the user looks at, -1 none."""
    signals: Floats
    """(B, G) in the order of SIGNALS."""


class ItemFacts(NamedTuple):
    """What is known of N items by themselves."""

    attributes: Hash32s
    """(N, 8) 0 where there are fewer."""
    vectors: Int8s
    """(N, D)"""
    created_at: Int64s
    """(N,) Unix ms, 0 unknown."""
    price: Floats
    """(N,) nan unknown."""
    half_lives: float
    """The long half-life of popularity over the short one."""


def featurise(batch: QueryBatch, table: ItemTable, blended: Blended) -> Floats:
    """Compute (B, C, F) features in the order of FEATURES, all finite; zeros where there is no candidate."""
    features = np.zeros((*blended.rows.shape, len(FEATURES)), np.float32)
    moment = Moment(batch.at, batch.visit, batch.mean_price, batch.current, batch.signals)
    _featurise(
        blended, moment, batch.history, batch.impressions, batch.interests, batch.preferences, _facts_of(table),
        links_of(table), scratch(table.n).sums, features,
    )  # fmt: skip
    return features


def popularity_of(batch: QueryBatch, table: ItemTable, rows: Int32s) -> Floats:
    """Compute the feature `popularity_long` of (B, L) rows alone; 0 where there is no item."""
    found = np.zeros(rows.shape, np.float32)
    _measure_popularity(rows, batch.visit, links_of(table).popularity, found)
    return found


@kernel
def _measure_popularity(
    rows: Int32s,  # (B, L) -1 none
    visit: Doubles,  # (B, 2) what one visit at the query's moment weighs
    popularity: Floats,  # (N, 2) landmark units
    found: Floats,  # (B, L) written over 0
) -> None:
    """Fill one column alone, as `_describe_items` does."""
    for b in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            if rows[b, c] >= 0:
                found[b, c] = damp(popularity[rows[b, c], LONG] / visit[b, LONG])


def _facts_of(table: ItemTable) -> ItemFacts:
    return table.derived(
        "facts for features",
        lambda: ItemFacts(
            table.attributes, table.vectors, table.created_at, table.price,
            table.half_life_long_ms / table.half_life_short_ms,
        ),
    )  # fmt: skip


@kernel
def _featurise(
    blended: Blended,
    moment: Moment,
    history: Histories,
    impressions: Ragged,
    interests: Tastes,  # W = 2
    preferences: Tastes,  # W = 1
    facts: ItemFacts,
    links: Links,
    sums: Floats,  # (N,) cells
    features: Floats,  # (B, C, F) written over 0
) -> None:
    """Fill all columns by one call, since each call from Python costs microseconds however few the queries are."""
    rows = blended.rows
    _copy_blend(blended, features)
    _copy_signals(rows, moment.signals, features)
    _describe_items(rows, moment, facts, links.popularity, features)
    compare_contents(rows, history, facts.vectors, features)
    count_contacts(rows, history, impressions, sums, features)
    compare_pairs(rows, history, moment.visit, links, sums, features)
    look_back(rows, history, moment.current, sums, features)
    match_tastes(rows, facts.attributes, interests, preferences, features)


@inline
def _copy_blend(blended: Blended, features: Floats) -> None:
    """Fill BLEND_FEATURES, of (B, C, F): the sources' scores, their ranks, the blend."""
    n_sources = blended.source_scores.shape[2]
    for b in range(len(blended.rows)):
        for c in range(count_candidates(blended.rows[b])):
            for s in range(n_sources):
                features[b, c, s] = blended.source_scores[b, c, s]
                features[b, c, n_sources + s] = blended.source_ranks[b, c, s]
            features[b, c, _BLEND] = blended.scores[b, c]


@inline
def _copy_signals(rows: Int32s, signals: Floats, features: Floats) -> None:
    """Fill SIGNALS, of (B, C, F), by (B, G) values that a query's candidates share."""
    for b in range(len(rows)):
        for c in range(count_candidates(rows[b])):
            for g in range(signals.shape[1]):
                features[b, c, _SIGNALS + g] = signals[b, g]


@inline
def _describe_items(
    rows: Int32s,  # (B, C)
    moment: Moment,
    facts: ItemFacts,
    popularity: Floats,  # (N, 2) landmark units
    features: Floats,  # (B, C, F) written
) -> None:
    """Fill ITEM_FEATURES: popularity, age, price."""
    counts = np.empty((rows.shape[1], 2), np.float32)
    created = np.empty(rows.shape[1], np.int64)
    prices = np.empty(rows.shape[1], np.float32)
    for b in range(len(rows)):
        n = count_candidates(rows[b])
        # Gathered first, in short loops, so that the processor waits for many far rows at once.
        for c in range(n):
            counts[c, SHORT], counts[c, LONG] = popularity[rows[b, c], SHORT], popularity[rows[b, c], LONG]
        for c in range(n):
            created[c], prices[c] = facts.created_at[rows[b, c]], facts.price[rows[b, c]]
        for c in range(n):
            short = counts[c, SHORT] / moment.visit[b, SHORT]
            long = counts[c, LONG] / moment.visit[b, LONG]
            rate = short * facts.half_lives
            features[b, c, _POPULARITY_SHORT] = damp(short)
            features[b, c, _POPULARITY_LONG] = damp(long)
            features[b, c, _TREND] = clip((rate - long) / (rate + long + 1))
            if created[c] > 0:
                features[b, c, _AGE] = damp((moment.at[b] - created[c]) / _DAY_MS)
            features[b, c, _IS_NEW] = counts[c, LONG] <= 0
            if prices[c] > 0 and moment.mean_price[b] > 0:
                features[b, c, _PRICE_RATIO] = clip(np.log2(prices[c] / moment.mean_price[b]) / 4)
