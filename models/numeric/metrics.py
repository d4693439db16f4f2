"""How well a ranker predicts what users do: hit rate, reciprocal rank, gain and pairwise AUC."""

from dataclasses import dataclass

import numpy as np

from models.numeric.arrays import Bools, Doubles, Floats, Int64s


def ranks_of(scores: Floats, present: Bools, label_index: Int64s) -> Int64s:
    """Rank each list's label among its candidates; ties count against it.

    Parameters
    ----------
    scores : (B, C)
    present : (B, C) False where a list has no candidate.
    label_index : (B,) which candidate it was, -1 for none of them.

    Returns
    -------
    (B,) ranks from 1, 0 where the label is none of the candidates.
    """
    own = np.take_along_axis(scores, np.maximum(label_index, 0)[:, None], axis=1)  # (B, 1)
    ranks: Int64s = ((scores >= own) & present).sum(axis=1)
    return np.where(label_index >= 0, ranks, 0)


@dataclass(slots=True)
class Accuracy:
    """Hit rate and gain within the first k, and mean reciprocal rank; a missed label counts as 0."""

    k: int = 10
    n: int = 0
    hits: int = 0
    reciprocals: float = 0.0
    gains: float = 0.0

    def add(self, ranks: Int64s) -> None:
        """Add (B,) ranks from 1, 0 for a label that was no candidate."""
        self.n += len(ranks)
        self.hits += int(hits(ranks, self.k).sum())
        self.reciprocals += float((1 / ranks[ranks > 0]).sum())
        self.gains += float(gains(ranks, self.k).sum())

    @property
    def hit_rate(self) -> float:
        """HR@k."""
        return self.hits / self.n if self.n else 0.0

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank over all candidates."""
        return self.reciprocals / self.n if self.n else 0.0

    @property
    def ndcg(self) -> float:
        """NDCG@k; with one right answer, 1 / log2(1 + rank) within the first k (Järvelin and Kekäläinen 2002)."""
        return self.gains / self.n if self.n else 0.0


def pairwise_auc(scores: Floats, labels: Floats, present: Bools) -> Floats:
    """Measure how well each slate's scores separate its positives from its negatives: the area under its ROC curve.

    That is the share of pairs of a positive and a negative in which the positive has the higher score, ties counting
    half (Mann and Whitney 1947). It does not depend on the scale of the scores, so any two rankers can be compared.

    Parameters
    ----------
    scores, labels : (B, L); a label above 0 is a positive.
    present : (B, L) False where a slate has no item.

    Returns
    -------
    (B,) in [0, 1]; NaN for a slate without such a pair.
    """
    liked, others = (labels > 0) & present, (labels <= 0) & present
    pairs = liked[:, :, None] & others[:, None, :]  # (B, L, L)
    above = np.where(scores[:, :, None] > scores[:, None, :], 1.0, 0.0)
    above += np.where(scores[:, :, None] == scores[:, None, :], 0.5, 0.0)
    n_pairs = pairs.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        shares: Floats = ((above * pairs).sum(axis=(1, 2)) / n_pairs).astype(np.float32)
    return shares


def discounted_gains(scores: Floats, gains: Floats, present: Bools) -> Doubles:
    """Add up each slate's gains, those of items with a higher score counting more: discounted cumulative gain.

    The gain of the item with the r-th highest score counts 1 / log2(1 + r); of items with one score, each counts as if
    it stood in their middle (Järvelin and Kekäläinen 2002).

    Parameters
    ----------
    scores, gains : (B, L)
    present : (B, L) False where a slate has no item.

    Returns
    -------
    (B,)
    """
    above = (scores[:, None, :] > scores[:, :, None]) & present[:, None, :]  # (B, L, L)
    level = (scores[:, None, :] == scores[:, :, None]) & present[:, None, :]
    ranks = 0.5 + above.sum(axis=2) + 0.5 * level.sum(axis=2)
    return np.asarray((np.where(present, gains, 0.0) / np.log2(1.0 + ranks)).sum(axis=1))


def hits(ranks: Int64s, k: int) -> Doubles:
    """Say which of (B,) ranks, from 1, are within the first k: (B,) 1 or 0, also 0 for rank 0, a miss."""
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def reciprocals(ranks: Int64s, k: int) -> Doubles:
    """Return 1 / rank of (B,) ranks within the first k, else 0: (B,), whose mean is MRR@k."""
    return hits(ranks, k) / np.maximum(ranks, 1)


def gains(ranks: Int64s, k: int) -> Doubles:
    """Return 1 / log2(1 + rank) of (B,) ranks within the first k, else 0: (B,), NDCG@k with one relevant item.

    Järvelin and Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques.
    """
    return hits(ranks, k) / np.log2(1.0 + np.maximum(ranks, 1))
