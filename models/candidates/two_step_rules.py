"""Rules of two steps: what follows what goes with it, so that a thin past still leads somewhere."""

import numpy as np

from models.candidates.neighbours import Links, add_neighbours, links_of
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, mark, propose, take_sums, unmark
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.numeric.prefetch import AHEAD, prefetch_row
from models.query.batch import QueryBatch
from models.query.users import Histories, liked_item, n_newest

N_LAST = 3
EITHER_WAY = 0.3
"""What a visit to both counts in the first step beside a rule: it may also lead to what came before."""


class TwoStepRules(CandidateSource):
    """A walk from the newest items of the session: a step to what goes with them, then one along a rule.

    score(j) = sum over r = 0..2 of 1 / (r + 1) * sum_k S(i_r, k) * P(k, j), where i_0 is the newest item, P(k, j) =
    rule(k, j) / sum_j rule(k, j), and S(i, k) = s(i, k) / sum_k s(i, k) of s(i, k) = rule(i, k) + 0.3 * covisit(i, k);
    only the running session's items count (the newest always does), and disliked ones do not. A random walk of two
    steps, as in Cooper, Lee, Radinsky, Siegal (2014), Random walks in recommender systems.
    """

    name = "two_step_rules"
    reason = "often_soon"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose the items where most walks end."""
        _walk(batch.history, links_of(table), allowed, scratch(table.n).sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the item that most walks began at."""
        _explain(batch.history, links_of(table), rows, causes)


@kernel
def _walk(history: Histories, links: Links, allowed: Allowed, sums: Floats, found: Candidates) -> None:
    """Take both steps from each query's newest items; `sums` are (N,) cells."""
    neighbours, rules = links.neighbours, links.rules
    width = neighbours.shape[1]
    middles, shares = np.empty(N_LAST * width, np.int32), np.empty(N_LAST * width)
    pool = np.empty(len(middles) * width, np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(history.rows)):
        mark(allowed, b)
        n_middles = _first_steps(history, b, links, middles, shares)
        n = 0
        for m in range(n_middles):
            if m + AHEAD < n_middles:
                prefetch_row(neighbours, middles[m + AHEAD])
                prefetch_row(rules, middles[m + AHEAD])
            i = middles[m]
            n = add_neighbours(shares[m], neighbours[i], rules[i], allowed, sums, pool, n)
        unmark(allowed, b)
        take_sums(pool, n, sums, scores)
        propose(pool, scores, n, allowed.hashes, found, b)


@inline
def _strength(links: Links, i: np.int32) -> float:
    """Sum what draws the first step from item i to its neighbours."""
    total = 0.0
    for k in range(links.neighbours.shape[1]):
        if links.neighbours[i, k] < 0:
            break
        total += links.rules[i, k] + EITHER_WAY * links.covisits[i, k]
    return total


@inline
def _first_steps(
    history: Histories,
    b: int,
    links: Links,
    middles: Int32s,  # (3 * K,) written
    shares: Doubles,  # (3 * K,) written
) -> int:
    """List where the first steps of query b lead, and what a rule from there is worth; say how many there are."""
    m = 0
    for r in range(n_newest(history, b, N_LAST)):
        i = liked_item(history, b, r)
        if i < 0:
            continue
        strength = _strength(links, i)
        for k in range(links.neighbours.shape[1]):
            middle = links.neighbours[i, k]
            if middle < 0:
                break
            drawn = links.rules[i, k] + EITHER_WAY * links.covisits[i, k]
            if links.rule_totals[middle] > 0 and drawn > 0:
                middles[m], shares[m] = middle, drawn / ((r + 1) * strength * links.rule_totals[middle])
                m += 1
    return m


@inline
def _share_of(i: np.int32, j: np.int32, links: Links) -> float:
    """Say what share of the walks from item i end at item j."""
    neighbours = links.neighbours
    share = 0.0
    strength = _strength(links, i)
    width = neighbours.shape[1]
    for k in range(width):
        middle = neighbours[i, k]
        if middle < 0:
            break
        if k + AHEAD < width and neighbours[i, k + AHEAD] >= 0:
            prefetch_row(neighbours, neighbours[i, k + AHEAD])
        drawn = links.rules[i, k] + EITHER_WAY * links.covisits[i, k]
        for p in range(width):
            if neighbours[middle, p] == j:
                if links.rule_totals[middle] > 0 and strength > 0:
                    share += drawn * links.rules[middle, p] / (strength * links.rule_totals[middle])
                break
    return share


@kernel
def _explain(history: Histories, links: Links, rows: Int32s, causes: Int64s) -> None:
    """Find the item of the session that most of the score of each of the (B, L) rows came from; the newest at a tie."""
    for b in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            best = 0.0
            if rows[b, c] < 0:
                continue
            for r in range(n_newest(history, b, N_LAST)):
                i = liked_item(history, b, r)
                if i < 0:
                    continue
                gain = _share_of(i, rows[b, c], links) / (r + 1)
                if gain > best:
                    best = gain
                    causes[b, c] = i
