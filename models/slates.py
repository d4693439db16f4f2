"""Slates as messages: from chosen candidates to what is sent, each item with its true reason."""

from collections.abc import Mapping

import numpy as np
import xxhash

from models.arrays import Floats
from models.candidates.blend import Blended
from models.candidates.protocol import CandidateSource
from models.items import ItemTable
from models.messages import Slate, SlateItem
from models.ranking.batch import SOURCES, QueryBatch
from models.ranking.features import FEATURE_SET
from models.reranking import Reranked
from models.strategy import SourceName

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
    blended: Blended,
    features: Floats,
    scores: Floats,
    reranked: Reranked,
    model_version: str,
) -> list[Slate]:
    """Write one slate a query, in order; `names` are the recommendation ids."""
    query_number = np.arange(batch.n)[:, None]
    filled = reranked.places >= 0
    rows = np.where(filled, blended.rows[query_number, reranked.places], np.int32(-1))  # (B, L)
    top = np.where(filled, blended.top_source[query_number, reranked.places], -1)  # (B, L)
    causes = np.full(rows.shape, -1, np.int64)
    for s in {*top.ravel().tolist()} - {-1}:
        asked = top == s
        found = sources[SOURCES[s]].causes(batch, table, np.where(asked, rows, np.int32(-1)))
        causes[asked] = found[asked]

    searches = [bool(query.query) for query in batch.queries]
    kept = np.flatnonzero(filled.ravel())
    place = reranked.places.ravel()[kept]
    owner = kept // filled.shape[1]
    items = [
        SlateItem(
            table.ids[row],
            position,
            score,
            SOURCES[source] if source >= 0 else "request",
            EXPLORATION if explored else _reason(source, cause, searches[query], table),
            propensity,
            logged,
        )
        for query, row, position, score, source, explored, cause, propensity, logged in zip(
            owner.tolist(),
            rows.ravel()[kept].tolist(),
            (kept % filled.shape[1]).tolist(),
            scores[owner, place].astype(np.float64).round(6).tolist(),
            top.ravel()[kept].tolist(),
            reranked.explored.ravel()[kept].tolist(),
            causes.ravel()[kept].tolist(),
            reranked.propensities.ravel()[kept].tolist(),
            features[owner, place],
            strict=True,
        )
    ]
    edges = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).tolist()
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


def _reason(source: int, cause: int, is_search: bool, table: ItemTable) -> str:
    """Say what brought the item here: its strongest source, and what in the user's past that source used."""
    if source < 0:
        return "from the list given"
    name = SOURCES[source]
    if name in _PHRASES:
        return _PHRASES[name].format(table.titles[cause] or table.ids[cause])
    if is_search:
        return "matches your search"
    return f"because you like {table.attribute_name(cause)}" if cause >= 0 else "close to what you like"
