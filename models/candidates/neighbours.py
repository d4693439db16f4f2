"""Walks from the history's items to their neighbours, which several sources share."""

from typing import NamedTuple

from models.candidates.selection import Allowed, mark, unmark
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline
from models.numeric.prefetch import prefetch_row


class Links(NamedTuple):
    """What leads from each of N items to its K neighbours; weights in landmark units of the long half-life."""

    neighbours: Int32s
    """(N, K) rows, -1 where there are fewer."""
    rules: Floats
    """(N, K) weights of the rules item -> neighbour."""
    covisits: Floats
    """(N, K) visits of both in a session."""
    rule_totals: Doubles
    """(N,) each item's rules added up."""
    popularity: Floats
    """(N, 2) visits at the short and the long half-life, each in its landmark units."""


def links_of(table: ItemTable) -> Links:
    """Return the table's links, good until it changes."""
    return table.derived(
        "links",
        lambda: Links(table.neighbours, table.rule_weights, table.covisit_weights, table.rule_totals, table.popularity),
    )


@inline
def add_neighbours(
    factor: float,
    neighbours: Int32s,  # (K,) of one item
    weights: Floats,  # (K,)
    allowed: Allowed,
    sums: Floats,  # (N,) added to
    pool: Int32s,  # written from n on
    n: int,
) -> int:
    """Add one item's share to each of its neighbours; return how many the pool now holds."""
    flags, eligible = allowed.flags, allowed.eligible
    for k in range(len(neighbours)):
        j = neighbours[k]
        if j < 0:
            break
        gain = factor * weights[k]
        if sums[j] == 0:
            if flags[j] != eligible or gain <= 0:
                continue
            pool[n] = j
            n += 1
        sums[j] += gain
    return n


@inline
def sum_neighbours(
    history: Int32s,  # (32,) of query b
    factors: Floats,  # (R,) what each item of the history counts; 0 is skipped
    neighbours: Int32s,  # (N, K)
    weights: Floats,  # (N, K)
    allowed: Allowed,
    b: int,
    sums: Floats,  # (N,) added to
    pool: Int32s,  # (R * K,) written
) -> int:
    """Add up factor_i * weight_ij over the history's items i; return how many items j the pool holds."""
    mark(allowed, b)
    n = 0
    for r in range(len(factors)):
        if r + 1 < len(factors) and history[r + 1] >= 0:
            prefetch_row(neighbours, history[r + 1])
            prefetch_row(weights, history[r + 1])
        i = history[r]
        if i >= 0 and factors[r] > 0:
            n = add_neighbours(factors[r], neighbours[i], weights[i], allowed, sums, pool, n)
    unmark(allowed, b)
    return n


@inline
def find_strongest(
    history: Int32s,  # (32,) of one query
    factors: Floats,  # (R,)
    neighbours: Int32s,  # (N, K)
    weights: Floats,  # (N, K)
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
            for k in range(neighbours.shape[1]):
                if neighbours[i, k] == rows[c]:
                    gain = factors[r] * weights[i, k]
                    if gain > best:
                        best = gain
                        causes[c] = i
                    break
