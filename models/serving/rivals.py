"""Interleaved experiments on the way out: a query of two strategies becomes two queries, and their slates one."""

from dataclasses import replace

from models.experiments.assign.interleaving import interleave
from models.messages import Slate
from models.user.query import Query


def with_rivals(queries: list[Query]) -> list[Query]:
    """Let each query be followed by that of its rival, if it has one."""
    asked: list[Query] = []
    for query in queries:
        if query.rival is None:
            asked.append(query)
        else:
            # Of a drafted slate nobody could say how probable an exchange or a draw had made an item's place.
            asked += [
                replace(query, strategy=replace(by, swapped=0.0, sampled=0.0)) for by in (query.strategy, query.rival)
            ]
    return asked


def merge_rivals(queries: list[Query], slates: list[Slate]) -> list[Slate]:
    """Return one slate a query.

    Parameters
    ----------
    slates : of `with_rivals(queries)`, in the same order.
    """
    left = iter(slates)
    return [next(left) if query.rival is None else _merged(next(left), next(left)) for query in queries]


def _merged(first: Slate, second: Slate) -> Slate:
    by_team = [{item.item_id: item for item in slate.items} for slate in (first, second)]
    drafted = interleave(
        list(by_team[0]),
        list(by_team[1]),
        max(len(first.items), len(second.items)),
        int(first.recommendation_id[:16], 16),
    )
    items = [replace(by_team[place.team][place.item], position=position) for position, place in enumerate(drafted)]
    return replace(first, items=items, teams=[place.team for place in drafted], rival_version=second.model_version)
