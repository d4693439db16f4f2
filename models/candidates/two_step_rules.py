"""Rules of two steps: what follows what goes with it, so that a thin past still leads somewhere."""

import numpy as np

from models.candidates.neighbours import add_neighbours
from models.candidates.protocol import Candidates
from models.candidates.scratch import scratch
from models.candidates.selection import mark, select_top, unmark
from models.items import ItemTable
from models.names import SourceName
from models.numeric.arrays import Bytes, Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.numeric.prefetch import AHEAD, prefetch_row
from models.query.batch import QueryBatch

N_LAST = 3
EITHER_WAY = 0.3
"""What a visit to both counts in the first step beside a rule: it may also lead to what came before."""


class TwoStepRules:
    """A walk from the newest items of the session: a step to what goes with them, then one along a rule.

    score(j) = sum over r = 0..2 of 1 / (r + 1) * sum_k S(i_r, k) * P(k, j), where i_0 is the newest item, P(k, j) =
    rule(k, j) / sum_j rule(k, j), and S(i, k) = s(i, k) / sum_k s(i, k) of s(i, k) = rule(i, k) + 0.3 * covisit(i, k);
    only the running session's items count (the newest always does), and disliked ones do not. A random walk of two
    steps, as in Cooper, Lee, Radinsky, Siegal (2014), Random walks in recommender systems.
    """

    name: SourceName = "two_step_rules"

    def generate(self, batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
        """Propose the items where most walks end."""
        _walk(
            batch.history, batch.history_weights, batch.n_session, table.neighbours, table.rule_weights,
            table.covisit_weights, table.rule_totals, batch.marks.starts, batch.marks.rows, batch.wanted, table.hashes,
            states, scratch(table.n).sums, found.rows, found.scores,
        )  # fmt: skip

    def causes(self, batch: QueryBatch, table: ItemTable, rows: Int32s) -> Int64s:
        """Name the item that most walks began at."""
        causes = np.full(rows.shape, -1, np.int64)
        _explain(
            batch.history, batch.history_weights, batch.n_session, table.neighbours, table.rule_weights,
            table.covisit_weights, table.rule_totals, rows, causes,
        )  # fmt: skip
        return causes


@kernel
def _walk(
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    n_session: Int32s,  # (B,)
    neighbours: Int32s,  # (N, K)
    rules: Floats,  # (N, K)
    covisits: Floats,  # (N, K)
    totals: Doubles,  # (N,) of the rules
    mark_starts: Int64s,
    mark_rows: Int32s,
    wanted: int,
    hashes: Int64s,
    states: Bytes,
    sums: Floats,
    out_rows: Int32s,  # (B, n)
    out_scores: Floats,  # (B, n)
) -> None:
    width = neighbours.shape[1]
    middles, shares = np.empty(N_LAST * width, np.int32), np.empty(N_LAST * width)
    pool = np.empty(len(middles) * width, np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(history.shape[0]):
        mark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        n_middles = _first_steps(
            history[b], history_weights[b], n_session[b], neighbours, rules, covisits, totals, middles, shares
        )
        n = 0
        for m in range(n_middles):
            if m + AHEAD < n_middles:
                prefetch_row(neighbours, middles[m + AHEAD])
                prefetch_row(rules, middles[m + AHEAD])
            i = middles[m]
            n = add_neighbours(shares[m], neighbours[i], rules[i], states, wanted, sums, pool, n)
        unmark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        for p in range(n):
            scores[p] = sums[pool[p]]
            sums[pool[p]] = 0
        kept = select_top(pool, scores, n, out_rows.shape[1], hashes)
        for p in range(kept):
            out_rows[b, p] = pool[p]
            out_scores[b, p] = scores[p]


@inline
def _strength(neighbours: Int32s, rules: Floats, covisits: Floats) -> float:
    """Sum what draws the first step from one item to its neighbours."""
    total = 0.0
    for k in range(len(neighbours)):
        if neighbours[k] < 0:
            break
        total += rules[k] + EITHER_WAY * covisits[k]
    return total


@inline
def _first_steps(
    history: Int32s,
    history_weights: Floats,
    n_session: int,
    neighbours: Int32s,
    rules: Floats,
    covisits: Floats,
    totals: Doubles,
    middles: Int32s,
    shares: Doubles,
) -> int:
    """List where the first steps lead, and what a rule from there is worth; say how many there are."""
    m = 0
    for r in range(min(N_LAST, max(1, n_session))):
        i = history[r]
        if i < 0 or history_weights[r] < 0:
            continue
        strength = _strength(neighbours[i], rules[i], covisits[i])
        for k in range(neighbours.shape[1]):
            middle = neighbours[i, k]
            if middle < 0:
                break
            drawn = rules[i, k] + EITHER_WAY * covisits[i, k]
            if totals[middle] > 0 and drawn > 0:
                middles[m], shares[m] = middle, drawn / ((r + 1) * strength * totals[middle])
                m += 1
    return m


@inline
def _share_of(i: int, j: int, neighbours: Int32s, rules: Floats, covisits: Floats, totals: Doubles) -> float:
    """Say what share of the walks from item i end at item j."""
    share = 0.0
    strength = _strength(neighbours[i], rules[i], covisits[i])
    width = neighbours.shape[1]
    for k in range(width):
        middle = neighbours[i, k]
        if middle < 0:
            break
        if k + AHEAD < width and neighbours[i, k + AHEAD] >= 0:
            prefetch_row(neighbours, neighbours[i, k + AHEAD])
        drawn = rules[i, k] + EITHER_WAY * covisits[i, k]
        for p in range(width):
            if neighbours[middle, p] == j:
                if totals[middle] > 0 and strength > 0:
                    share += drawn * rules[middle, p] / (strength * totals[middle])
                break
    return share


@kernel
def _explain(
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    n_session: Int32s,  # (B,)
    neighbours: Int32s,  # (N, K)
    rules: Floats,  # (N, K)
    covisits: Floats,  # (N, K)
    totals: Doubles,  # (N,) of the rules
    rows: Int32s,  # (B, L)
    causes: Int64s,  # (B, L) written
) -> None:
    """Find the item of the session that most of a candidate's score came from; the newest at a tie."""
    for b in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            best = 0.0
            if rows[b, c] < 0:
                continue
            for r in range(min(N_LAST, max(1, n_session[b]))):
                i = history[b, r]
                if i < 0 or history_weights[b, r] < 0:
                    continue
                gain = _share_of(i, rows[b, c], neighbours, rules, covisits, totals) / (r + 1)
                if gain > best:
                    best = gain
                    causes[b, c] = i
