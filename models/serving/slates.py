"""Slates as messages: from chosen candidates to what is sent, each item with its true reason."""

from collections.abc import Mapping
from functools import cache, partial
from itertools import accumulate, cycle

import numpy as np
import xxhash

from models.candidates.blend import Blended
from models.candidates.protocol import CandidateSource
from models.items import ItemTable
from models.messages import Slate, SlateItem
from models.names import FEATURE_SET, SOURCES, SourceName
from models.numeric.arrays import Doubles, Floats, Int8s, Int32s, Int64s
from models.query.batch import QueryBatch
from models.serving.rerank import Reranked

EXPLORATION = "something new to try"
_PHRASES: dict[SourceName, str] = {
    "sequential_rules": "often next after {}",
    "two_step_rules": "often soon after {}",
    "covisitation": "because you viewed {}",
    "session_knn": "others who viewed {} went on to it",
    "revisits": "because you looked at it before",
    "trending": "trending now",
}
"""What to say of a candidate by its source; {} is the item of the history that contributed most."""


def recommendation_id(flow: str, user_id: str, trigger: str, trigger_id: str) -> str:
    """Name the slate of one cause: 32 hexadecimal digits of xxh3_128 over the parts, each led by its length.

    The same cause gives the same id in every process, so a replay recognises its own slates.
    """
    parts = f"{len(flow)}:{flow}{len(user_id)}:{user_id}{len(trigger)}:{trigger}{len(trigger_id)}:{trigger_id}"
    return xxhash.xxh3_128_hexdigest(parts.encode())


def build_slates(
    batch: QueryBatch,
    table: ItemTable,
    sources: Mapping[str, CandidateSource],
    names: list[str],
    chosen: Blended,
    features: Floats,
    scores: Doubles,
    reranked: Reranked,
    model_version: str,
) -> list[Slate]:
    """Write one slate a query, in order.

    Parameters
    ----------
    names
        The recommendation ids.
    chosen, features, scores
        Of the (B, L) items as they stand on the slates.
    """
    rows, top = chosen.rows, chosen.top_source
    causes = _causes(batch, table, sources, rows, top)
    reason = cache(partial(_reason, table))  # many items of a slate share one
    items = [
        SlateItem(
            table.ids[row],
            position,
            score,
            SOURCES[source] if source >= 0 else "request",
            EXPLORATION if explored else reason(source, cause, is_search),
            propensity,
            inputs,
        )
        for row, position, score, source, explored, cause, is_search, propensity, inputs in zip(
            rows.ravel().tolist(),
            cycle(range(rows.shape[1])),
            scores.round(6).ravel().tolist(),
            top.ravel().tolist(),
            reranked.explored.ravel().tolist(),
            causes.ravel().tolist(),
            [bool(query.query) for query in batch.queries for _ in range(rows.shape[1])],
            reranked.propensities.ravel().tolist(),
            features.reshape(-1, features.shape[2]),
            strict=False,
        )
        if row >= 0
    ]
    edges = [0, *accumulate(reranked.n_items.tolist())]
    return [
        Slate(
            recommendation_id=name,
            user_id=query.user_id,
            created_at=query.at,
            trigger=query.trigger,
            trigger_id=query.trigger_id,
            experiment=query.experiment,
            variant=query.variant,
            model_version=model_version,
            learned_until=table.learned_until,
            n_events=query.n_events,
            feature_set=FEATURE_SET,
            items=items[start:stop],
        )
        for query, name, start, stop in zip(batch.queries, names, edges, edges[1:], strict=False)
    ]


def _causes(
    batch: QueryBatch, table: ItemTable, sources: Mapping[str, CandidateSource], rows: Int32s, top: Int8s
) -> Int64s:
    """Ask each source for the causes of the (B, L) items that it brought: (B, L), -1 where there is none."""
    causes = np.full(rows.shape, -1, np.int64)
    for s in {*top.ravel().tolist()} - {-1}:
        np.maximum(causes, sources[SOURCES[s]].causes(batch, table, np.where(top == s, rows, np.int32(-1))), out=causes)
    return causes


def _reason(table: ItemTable, source: int, cause: int, is_search: bool) -> str:
    """Say what brought the item here: its strongest source, and what in the user's past that source used."""
    if source < 0:
        return "from the list given"
    name = SOURCES[source]
    if name in _PHRASES:
        return _PHRASES[name].format(table.titles[cause] or table.ids[cause])
    if is_search:
        return "matches your search"
    return f"because you like {table.attribute_name(cause)}" if cause >= 0 else "close to what you like"
