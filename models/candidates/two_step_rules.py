"""Rules of two steps: what follows what goes with it, so that a thin past still leads somewhere."""

import numpy as np

from models.candidates.neighbours import Links, add_neighbours, links_of, prefetch_links
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, propose, take_allowed
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.numeric.prefetch import AHEAD
from models.query.batch import QueryBatch
from models.query.users import Histories, liked_item, n_newest

N_LAST = 3
BREADTH = 50
"""Heaviest neighbours that a step may lead to: two steps lead to the square of it."""
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
    middles, shares = np.empty(N_LAST * BREADTH, np.int32), np.empty(N_LAST * BREADTH)
    pool = np.empty(len(middles) * BREADTH, np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(history.rows)):
        n_middles = _first_steps(history, b, links, middles, shares)
        n = 0
        for m in range(n_middles):
            if m + AHEAD < n_middles:
                prefetch_links(middles[m + AHEAD], links.rules, links)
            n = add_neighbours(shares[m], middles[m], links, links.rules, BREADTH, sums, pool, n)
        n = take_allowed(allowed, b, pool, n, sums, scores)
        propose(pool, scores, n, allowed.hashes, found, b)


@inline
def _n_links(i: np.int32, links: Links) -> int:
    """Count the links of an item that a step may go along."""
    n: int = min(links.sizes[i], BREADTH)
    return n


@inline
def _drawn(p: int, links: Links) -> float:
    """Say how much the first step is drawn along a link."""
    drawn: float = links.rules[p] + EITHER_WAY * links.covisits[p]
    return drawn


@inline
def _strength(links: Links, i: np.int32) -> float:
    """Sum what draws the first step from item i to its neighbours."""
    total = 0.0
    start = links.starts[i]
    for p in range(start, start + _n_links(i, links)):
        total += _drawn(p, links)
    return total


@inline
def _first_steps(
    history: Histories,
    b: int,
    links: Links,
    middles: Int32s,  # (3 * BREADTH,) written
    shares: Doubles,  # (3 * BREADTH,) written
) -> int:
    """List where the first steps of query b lead, and what a rule from there is worth; say how many there are."""
    m = 0
    for r in range(n_newest(history, b, N_LAST)):
        i = liked_item(history, b, r)
        if i < 0:
            continue
        strength = _strength(links, i)
        start = links.starts[i]
        for p in range(start, start + _n_links(i, links)):
            middle, drawn = links.others[p], _drawn(p, links)
            if links.rule_totals[middle] > 0 and drawn > 0:
                middles[m], shares[m] = middle, drawn / ((r + 1) * strength * links.rule_totals[middle])
                m += 1
    return m


@inline
def _share_of(i: np.int32, j: np.int32, links: Links) -> float:
    """Say what share of the walks from item i end at item j."""
    share = 0.0
    strength = _strength(links, i)
    start = links.starts[i]
    end = start + _n_links(i, links)
    for p in range(start, end):
        if p + AHEAD < end:
            prefetch_links(links.others[p + AHEAD], links.rules, links)
        middle = links.others[p]
        begin = links.starts[middle]
        for q in range(begin, begin + _n_links(middle, links)):
            if links.others[q] == j:
                if links.rule_totals[middle] > 0 and strength > 0:
                    share += _drawn(p, links) * links.rules[q] / (strength * links.rule_totals[middle])
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
