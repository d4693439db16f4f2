"""Walks from the history's items to their neighbours, which several sources share."""

from typing import NamedTuple

from models.candidates.selection import add_to_pool
from models.items import ItemTable
from models.items.links import LinkArrays
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline
from models.numeric.prefetch import prefetch

_LINKS_A_LINE = 16
_PREFETCHED = 64
"""Links of an item that are asked for in advance; the processor goes on by itself."""


class Links(NamedTuple):
    """What leads from each of N items to others; weights in landmark units of the long half-life."""

    starts: Int64s
    """(N,) where each item's links begin, the heaviest first."""
    sizes: Int32s
    """(N,) how many it has."""
    others: Int32s
    """(P,) rows that they lead to."""
    rules: Floats
    """(P,) weights of the rules item -> other."""
    covisits: Floats
    """(P,) weights of both, in either order."""
    rule_totals: Doubles
    """(N,) each item's rules added up."""
    popularity: Floats
    """(N, 2) visits at the short and the long half-life, each in its landmark units."""
    most: int
    """Links that an item has at most."""


def links_of(table: ItemTable) -> Links:
    """Return the table's links between what came in one session, good until it changes."""
    return table.derived("links", lambda: _links(table, table.links.arrays))


def habits_of(table: ItemTable) -> Links:
    """Return the table's links between what came in different sessions of a user, good until it changes."""
    return table.derived("habits", lambda: _links(table, table.habits.arrays))


def _links(table: ItemTable, held: LinkArrays) -> Links:
    return Links(
        held.starts, held.sizes, held.others, held.rules, held.covisits, held.rule_totals, table.popularity,
        table.n_neighbours,
    )  # fmt: skip


@inline
def prefetch_links(i: int, weights: Floats, links: Links) -> None:
    """Begin to load the first links of an item, and their (P,) weights."""
    start = links.starts[i]
    for p in range(start, start + min(links.sizes[i], _PREFETCHED), _LINKS_A_LINE):
        prefetch(links.others, p)
        prefetch(weights, p)


@inline
def add_neighbours(
    factor: float,
    i: int,
    links: Links,
    weights: Floats,  # (P,) rules or covisits of the links
    most: int,
    sums: Floats,  # (N,) added to
    pool: Int32s,  # written from n on
    n: int,
) -> int:
    """Add an item's share to each of its heaviest neighbours, so many at most; return how many the pool now holds."""
    start = links.starts[i]
    for p in range(start, start + min(links.sizes[i], most)):
        n = add_to_pool(links.others[p], factor * weights[p], sums, pool, n)
    return n


@inline
def sum_neighbours(
    history: Int32s,  # (32,) of query b
    factors: Floats,  # (R,) what each item of the history counts; 0 is skipped
    links: Links,
    weights: Floats,  # (P,) rules or covisits of the links
    sums: Floats,  # (N,) added to
    pool: Int32s,  # (R * most,) written
) -> int:
    """Add up factor_i * weight_ij over the items i of the history; return how many items j are in the pool."""
    n = 0
    for r in range(len(factors)):
        if r + 1 < len(factors) and history[r + 1] >= 0:
            prefetch_links(history[r + 1], weights, links)
        i = history[r]
        if i >= 0 and factors[r] > 0:
            n = add_neighbours(factors[r], i, links, weights, links.most, sums, pool, n)
    return n


@inline
def find_strongest(
    history: Int32s,  # (32,) of one query
    factors: Floats,  # (R,)
    links: Links,
    weights: Floats,  # (P,) rules or covisits of the links
    rows: Int32s,  # (L,)
    causes: Int64s,  # (L,) written where a row is asked for
) -> None:
    """Find the item of the history with the largest factor_i * weight_ij; the newest at a tie."""
    for c in range(len(rows)):
        best = 0.0
        if rows[c] < 0:
            continue
        for r in range(len(factors)):
            i = history[r]
            if i < 0 or factors[r] <= 0:
                continue
            start = links.starts[i]
            for p in range(start, start + links.sizes[i]):
                if links.others[p] == rows[c]:
                    gain = factors[r] * weights[p]
                    if gain > best:
                        best = gain
                        causes[c] = i
                    break
