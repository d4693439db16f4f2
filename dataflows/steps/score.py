"""The step that answers a batch of queries, of many users at once."""

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dataflows.codecs import encode
from dataflows.following.tables import Tables
from dataflows.records import Outgoing
from dataflows.steps.erase import tombstone
from dataflows.steps.profile import Output
from models.messages import Erasure, Slate
from models.serving.recommender import Recommender
from models.serving.rivals import merge_rivals, with_rivals
from models.user.query import Query


def score(step_id: str, due: KeyedStream[Output], recommender: Recommender, tables: Tables) -> KeyedStream[Outgoing]:
    """Make one slate a query, and a tombstone an erasure: (user_id, Outgoing).

    Item tables and rankers change between two batches, never within one.
    """

    def mapper(batch: list[tuple[str, Output]]) -> list[tuple[str, Outgoing]]:
        tables.refresh()
        follow_rankers(recommender, tables)
        recommender.table_version = tables.version
        queries = [query for _, query in batch if isinstance(query, Query)]
        slates = iter(merge_rivals(queries, recommender.recommend(with_rivals(queries))))
        # In the batch's own order: a user's slates from before an erasure lie before its tombstone.
        return [
            (user_id, tombstone(output) if isinstance(output, Erasure) else _outgoing(next(slates)))
            for user_id, output in batch
            if isinstance(output, Query | Erasure)
        ]

    return op.flat_map_batch(step_id, due, mapper)


def follow_rankers(recommender: Recommender, tables: Tables) -> None:
    """Put the versions that have come into service."""
    for name, checkpoint in tables.take_rankers():
        recommender.swap(name, checkpoint)


def _outgoing(slate: Slate) -> Outgoing:
    return Outgoing(slate.user_id, slate.recommendation_id, encode(slate))
