"""The step that answers a batch of queries, of many users at once."""

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dataflows.codecs import encode
from dataflows.connectors.tables import Tables
from dataflows.records import Outgoing
from dataflows.steps.profile import Output
from models.query import Query
from models.recommender import Recommender


def score(step_id: str, due: KeyedStream[Output], recommender: Recommender, tables: Tables) -> KeyedStream[Outgoing]:
    """Make one slate a query: (user_id, Outgoing). Item tables change between two batches, never within one."""
    ranker = recommender.model_version

    def mapper(batch: list[tuple[str, Output]]) -> list[tuple[str, Outgoing]]:
        tables.refresh()
        queries = [query for _, query in batch if isinstance(query, Query)]
        if not queries:
            return []
        recommender.model_version = f"{ranker}@{tables.version}"
        return [
            (slate.user_id, Outgoing(slate.user_id, slate.recommendation_id, encode(slate)))
            for slate in recommender.recommend(queries)
        ]

    return op.flat_map_batch(step_id, due, mapper)
