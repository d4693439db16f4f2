"""Slates as messages: from chosen candidates to what is sent, each item with its true reason."""

from functools import cache, partial
from itertools import accumulate, cycle, repeat
from typing import NamedTuple

import numpy as np
import xxhash

from models.candidates.blend import EVERY_SOURCE
from models.features.table import popularity_of
from models.items import ItemTable
from models.messages import SampledFrom, Slate, SlateItem
from models.names import FEATURE_SET, SOURCES, ReasonCode
from models.numeric.arrays import Floats, Int8s, Int32s, Int64s
from models.numeric.halves import pack_halves
from models.phrases import Phrases, Why
from models.query.batch import QueryBatch
from models.rankers.inputs import N_HISTORY
from models.serving.filling import Reranked
from models.serving.ranked import Chosen, Ranked
from models.user.query import Query

GIVEN = "request"
"""The source of an item that no source proposed: it is one of the query's own candidates."""
PLACED = "rule"
"""The source of an item that none proposed and a rule placed."""
COLD = "cold"
"""The source of an item that none proposed, drawn among the cold ones."""


class Draft(NamedTuple):
    """A slate on its way out."""

    slate: Slate
    novelty: Floats
    """(L,) of its items."""
    features: Floats | None
    """(L, F) what a ranker looks at of its items; None where nobody asks for it."""

    def finished(self, *, log_features: bool) -> Slate:
        """Write on the slate what goes by all of its items.

        Parameters
        ----------
        log_features
            Whether they are wanted on slates that may be learned from.
        """
        slate = self.slate
        if slate.items:
            # What `mean` does, bit for bit, in 1.9 us and not 6.2, a tenth of the time of building a slate.
            slate.novelty = round(float(np.add.reduce(self.novelty) / len(self.novelty)), 6)
            if log_features and slate.consent and self.features is not None:
                slate.features = pack_halves(self.features)
        return slate


def recommendation_id(flow: str, user_id: str, trigger: str, trigger_id: str) -> str:
    """Name the slate of one cause: 32 hexadecimal digits of xxh3_128 over the parts, each led by its length.

    The same cause gives the same id in every process, so a replay recognises its own slates.
    """
    parts = f"{len(flow)}:{flow}{len(user_id)}:{user_id}{len(trigger)}:{trigger}{len(trigger_id)}:{trigger_id}"
    return xxhash.xxh3_128_hexdigest(parts.encode())


def build_slates(
    ranked: Ranked, chosen: Chosen, reranked: Reranked, model_version: str, phrases: Phrases
) -> list[Draft]:
    """Write one slate a query, in order.

    Parameters
    ----------
    chosen, reranked
        The items as they stand on the slates, and how they came to stand there.
    phrases
        The words for reasons.
    """
    batch, table = ranked.batch, ranked.table
    rows, top = chosen.blended.rows, chosen.blended.top_source
    reason = cache(partial(_reason, table, phrases))  # many items of a slate share one
    drawn = _said(Why("exploration"), phrases)
    unproposed = GIVEN if batch.own else COLD
    items = [
        SlateItem(
            table.ids[row],
            position,
            score,
            SOURCES[source] if source >= 0 else unproposed if rule is None else PLACED,
            *(drawn if explored else reason(source, cause)),
            propensity,
            rule=rule,
        )
        for row, position, score, source, explored, cause, propensity, rule in zip(
            rows.ravel().tolist(),
            cycle(range(rows.shape[1])),
            chosen.scores.round(6).ravel().tolist(),
            top.ravel().tolist(),
            reranked.explored.ravel().tolist(),
            _causes(batch, table, rows, top).ravel().tolist(),
            reranked.propensities.ravel().tolist(),
            repeat(None) if ranked.ruled is None else ranked.ruled.names(reranked, batch.rules),
            strict=False,
        )
        if row >= 0
    ]
    novelty = 1 - popularity_of(batch, table, rows)
    features = chosen.features
    edges = [0, *accumulate(reranked.n_items.tolist())]
    sampled_from = _sampled_from(ranked, reranked)
    slates = [
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
            novelty=None,
            consent=query.consent,
            sampled=batch.strategy.sampled if may_sample(query) else 0.0,
            sampled_from=sampled_from.get(b),
            placement=query.placement,
        )
        for b, (query, slate_id, start, stop) in enumerate(
            zip(batch.queries, ranked.ids, edges, edges[1:], strict=False)
        )
    ]
    return [
        Draft(slate, novelty[b, : len(slate.items)], None if features is None else features[b, : len(slate.items)])
        for b, slate in enumerate(slates)
    ]


def may_sample(query: Query) -> bool:
    """Say whether a query's slate may be drawn as a whole: not what was searched for, nor a list that was given."""
    return not query.query and query.candidates is None


def _sampled_from(ranked: Ranked, reranked: Reranked) -> dict[int, SampledFrom]:
    """Note what the slates were drawn from that were drawn as a whole, by their numbers in the batch."""
    if not reranked.sampled.any():
        return {}
    table, strategy, rows = ranked.table, ranked.batch.strategy, ranked.blended.rows
    is_kept = reranked.sampled[:, None] & (rows >= 0)  # (B, C)
    positions = np.where(is_kept, np.arange(rows.shape[1], dtype=np.int32), np.int32(-1))
    features = ranked.at(positions, featurised=True).features
    assert features is not None  # noqa: S101 - asked for
    sources: list[str] = [source for source in SOURCES if source in strategy.asked_sources]
    found = {}
    for b in np.flatnonzero(reranked.sampled).tolist():
        n = int(is_kept[b].sum())
        history = ranked.batch.history.rows[b, :N_HISTORY]
        found[b] = SampledFrom(
            [table.ids[row] for row in rows[b, :n].tolist()],
            reranked.logits[b, :n],
            table.category[rows[b, :n]],
            strategy.max_per_category,
            pack_halves(features[b, :n]),
            np.where(history >= 0, table.hashes[history], 0),
            sources,
        )
    return found


def _causes(batch: QueryBatch, table: ItemTable, rows: Int32s, top: Int8s) -> Int64s:
    """Ask each source for the causes of the (B, L) items that it brought: (B, L), -1 where there is none."""
    causes = np.full(rows.shape, -1, np.int64)
    for s in {*top.ravel().tolist()} - {-1}:
        EVERY_SOURCE[s].explain(batch, table, np.where(top == s, rows, np.int32(-1)), causes)
    return causes


def _reason(table: ItemTable, phrases: Phrases, source: int, cause: int) -> tuple[str, ReasonCode, str | None]:
    """Say what brought the item here: its strongest source, and what in the user's past that source used."""
    return _said(EVERY_SOURCE[source].why(table, cause) if source >= 0 else Why("given"), phrases)


def _said(why: Why, phrases: Phrases) -> tuple[str, ReasonCode, str | None]:
    return phrases.say(why), why.code, why.about
