"""Slates as messages: from chosen candidates to what is sent, each item with its true reason."""

from functools import cache, partial
from itertools import accumulate, cycle

import numpy as np
import xxhash

from models.candidates.blend import EVERY_SOURCE
from models.items import ItemTable
from models.messages import Slate, SlateItem
from models.names import FEATURE_SET, SOURCES
from models.numeric.arrays import Int8s, Int32s, Int64s
from models.query.batch import QueryBatch
from models.serving.ranked import Chosen, Ranked
from models.serving.rerank import Reranked

EXPLORATION = "something new to try"
"""The reason of an item that was drawn."""
_GIVEN, _GIVEN_REASON = "request", "from the list given"
"""Source and reason of an item that no source proposed: it is one of the query's own candidates."""


def recommendation_id(flow: str, user_id: str, trigger: str, trigger_id: str) -> str:
    """Name the slate of one cause: 32 hexadecimal digits of xxh3_128 over the parts, each led by its length.

    The same cause gives the same id in every process, so a replay recognises its own slates.
    """
    parts = f"{len(flow)}:{flow}{len(user_id)}:{user_id}{len(trigger)}:{trigger}{len(trigger_id)}:{trigger_id}"
    return xxhash.xxh3_128_hexdigest(parts.encode())


def build_slates(ranked: Ranked, chosen: Chosen, reranked: Reranked, model_version: str) -> list[Slate]:
    """Write one slate a query, in order.

    Parameters
    ----------
    chosen, reranked
        The items as they stand on the slates, and how they came to stand there.
    """
    batch, table = ranked.batch, ranked.table
    rows, top = chosen.blended.rows, chosen.blended.top_source
    reason = cache(partial(_reason, table))  # many items of a slate share one
    items = [
        SlateItem(
            table.ids[row],
            position,
            score,
            SOURCES[source] if source >= 0 else _GIVEN,
            EXPLORATION if explored else reason(source, cause),
            propensity,
            features,
        )
        for row, position, score, source, explored, cause, propensity, features in zip(
            rows.ravel().tolist(),
            cycle(range(rows.shape[1])),
            chosen.scores.round(6).ravel().tolist(),
            top.ravel().tolist(),
            reranked.explored.ravel().tolist(),
            _causes(batch, table, rows, top).ravel().tolist(),
            reranked.propensities.ravel().tolist(),
            chosen.features.reshape(-1, chosen.features.shape[2]),
            strict=False,
        )
        if row >= 0
    ]
    edges = [0, *accumulate(reranked.n_items.tolist())]
    return [
        Slate(
            recommendation_id=slate_id,
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
            consent=query.consent,
        )
        for query, slate_id, start, stop in zip(batch.queries, ranked.ids, edges, edges[1:], strict=False)
    ]


def _causes(batch: QueryBatch, table: ItemTable, rows: Int32s, top: Int8s) -> Int64s:
    """Ask each source for the causes of the (B, L) items that it brought: (B, L), -1 where there is none."""
    causes = np.full(rows.shape, -1, np.int64)
    for s in {*top.ravel().tolist()} - {-1}:
        EVERY_SOURCE[s].explain(batch, table, np.where(top == s, rows, np.int32(-1)), causes)
    return causes


def _reason(table: ItemTable, source: int, cause: int) -> str:
    """Say what brought the item here: its strongest source, and what in the user's past that source used."""
    return EVERY_SOURCE[source].reason(table, cause) if source >= 0 else _GIVEN_REASON
