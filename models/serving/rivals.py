"""Interleaved experiments on the way out: a query of two strategies becomes two queries, and their slates one."""

from dataclasses import replace

import numpy as np

from models.experiments.assign.interleaving import interleave
from models.serving.slates import Draft
from models.user.query import Query


def with_rivals(queries: list[Query]) -> list[Query]:
    """Let each query be followed by that of its rival, if it has one."""
    asked: list[Query] = []
    for query in queries:
        if query.rival is None:
            asked.append(query)
        else:
            # Of a drafted slate nobody could say how probable an exchange or a draw had made an item's place.
            strategies = (replace(by, swapped=0.0, sampled=0.0, cold_share=0.0) for by in (query.strategy, query.rival))
            asked += [replace(query, strategy=strategy) for strategy in strategies]
    return asked


def merge_rivals(queries: list[Query], drafts: list[Draft]) -> list[Draft]:
    """Return one slate a query.

    Parameters
    ----------
    drafts : of `with_rivals(queries)`, in the same order.
    """
    left = iter(drafts)
    return [next(left) if query.rival is None else _merged(next(left), next(left)) for query in queries]


def _merged(first: Draft, second: Draft) -> Draft:
    places = [{item.item_id: n for n, item in enumerate(draft.slate.items)} for draft in (first, second)]
    drafted = interleave(
        list(places[0]),
        list(places[1]),
        max(len(places[0]), len(places[1])),
        int(first.slate.recommendation_id[:16], 16),
    )
    taken = [((first, second)[place.team], places[place.team][place.item]) for place in drafted]
    slate = replace(
        first.slate,
        items=[replace(draft.slate.items[n], position=position) for position, (draft, n) in enumerate(taken)],
        teams=[place.team for place in drafted],
        rival_version=second.slate.model_version,
    )
    novelty = np.array([draft.novelty[n] for draft, n in taken], np.float32)
    rows = [draft.features[n] for draft, n in taken if draft.features is not None]
    return Draft(slate, novelty, np.stack(rows) if rows else None)
