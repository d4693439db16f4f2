"""Training a sequence model: each act against items that were drawn, stopped by what users did next.

The loss of an act that was followed by item j is a softmax over j and the drawn items (sampled softmax):

    -log exp(s_j) / (exp(s_j) + sum_k exp(s_k - log q_k) / n)

q_k being the probability by which item k is drawn: half of the time any item, half of the time in proportion to how
often it is acted on. The correction by q makes it an estimate of the softmax over all items.

References
----------
Y. Bengio, J.-S. Senécal. Adaptive importance sampling to accelerate training of a neural probabilistic language model.
IEEE Transactions on Neural Networks 2008. X. Yi et al. Sampling-bias-corrected neural modeling for large corpus item
recommendations. RecSys 2019.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.items.columns import Columns
from models.numeric.arrays import Doubles, Floats, Int64s
from models.sequence.acts import Acts, Windows
from models.sequence.checkpoint import SequenceCheckpoint
from models.sequence.config import SequenceConfig, SequenceTraining
from models.sequence.network import SequenceNetwork
from models.sequence.vocabulary import Vocabulary

Report = Callable[[int, float, float], object]
"""Called after each epoch with its number (from 1), the training loss and the validation's NDCG@10."""
_AT = 10
_JUDGED_AT_ONCE = 512
_SIMILAR_LENGTHS = 4.0
"""Windows of a step differ by about so many acts, so that little of it is padding."""


class Fitted(NamedTuple):
    """What a training came to."""

    network: SequenceNetwork
    vocabulary: Vocabulary
    n_epochs: int
    """After which it was best."""
    ndcg: float
    """Of the validation then, at 10; 0 where nothing validated."""


class Known(NamedTuple):
    """What a network looks at of all V items of a vocabulary, behind a row for none."""

    numbers: Tensor
    """(V + 1,)"""
    attributes: Tensor
    """(V + 1, 8)"""
    contents: Tensor
    """(V + 1, 64) int8."""

    @classmethod
    def of(cls, vocabulary: Vocabulary, table: Columns) -> "Known":
        """Describe the items by what a table says of them."""
        facts = vocabulary.facts(np.concatenate([np.zeros(1, np.int64), vocabulary.items]), table)
        return cls(*(torch.from_numpy(array) for array in facts))


class Validation(NamedTuple):
    """What users went on to, who may also be among those to learn from."""

    acts: Acts
    """Of each user what came before."""
    targets: Int64s
    """(U,) hashes of the items."""

    def drawn(self, most: int, seed: int) -> "Validation":
        """Keep some users at random, where there are more."""
        if self.acts.n_users <= most:
            return self
        users = np.sort(np.random.default_rng(seed).choice(self.acts.n_users, most, replace=False))
        return Validation(self.acts.chosen(users), self.targets[users])


def fit(
    acts: Acts,
    table: Columns,
    config: SequenceConfig | None = None,
    training: SequenceTraining | None = None,
    validation: Validation | None = None,
    report: Report | None = None,
    start: SequenceCheckpoint | None = None,
) -> Fitted:
    """Train a network to say what comes next.

    Parameters
    ----------
    acts : what to learn from.
    table : what is known of the items: attributes and texts.
    validation : what decides when to stop; none: it goes to the last epoch.
    start : a model to go on from, in the place of a new one; its shape counts, and what it knows is not forgotten.

    Returns
    -------
    The network of the best epoch. The same arguments give the same weights.

    Raises
    ------
    ValueError : no user did two things.
    """
    config, training = config or SequenceConfig(), training or SequenceTraining()
    vocabulary = Vocabulary.of(acts.items, table)
    if start is not None:
        config, vocabulary = start.network.config, vocabulary.joined(start.vocabulary)
    known = Known.of(vocabulary, table)
    numbers = vocabulary.numbers(acts.items)
    windows = Windows.cut(acts, numbers, config.n_recent + 1)
    if not windows.n:
        raise ValueError("no user did two things one after the other, so there is nothing to learn from")
    validation = validation.drawn(training.most_judged, training.seed) if validation else None
    with torch.random.fork_rng(devices=[]), threads(training.n_threads):
        torch.manual_seed(training.seed)
        network = SequenceNetwork(config, len(vocabulary.items), len(vocabulary.attributes))
        if start is not None:
            network.take_over(start.network, *vocabulary.numbers_of(start.vocabulary))
        optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
        draws = _Draws(numbers, len(vocabulary.items), training)
        best, best_ndcg, best_epoch = copy.deepcopy(network), -1.0, 0
        for epoch in range(1, training.max_epochs + 1):
            loss = _train_epoch(network, optimizer, windows, known, draws, training)
            ndcg = judge(network, vocabulary, known, validation) if validation else 0.0
            if report is not None:
                report(epoch, loss, ndcg)
            if not validation or ndcg > best_ndcg:
                best, best_ndcg, best_epoch = copy.deepcopy(network), ndcg, epoch
            elif epoch - best_epoch >= training.patience:
                break
    return Fitted(best.eval(), vocabulary, best_epoch, max(best_ndcg, 0.0))


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let PyTorch compute on so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Draws:
    """Draws items, and knows how probable each was: log(n q_k), of n that are drawn at once."""

    def __init__(self, numbers: Int64s, n_items: int, training: SequenceTraining) -> None:
        counts = np.bincount(numbers, minlength=n_items + 1)[1:]
        q: Doubles = 0.5 / n_items + 0.5 * counts / counts.sum()
        self.n = min(training.n_negatives, n_items)
        self.corrections = torch.from_numpy(np.log(self.n * np.concatenate([[1.0], q])).astype(np.float32))
        self._bounds = np.cumsum(q)
        self._generator = np.random.default_rng(training.seed)

    def items(self) -> Tensor:
        """Draw (n,) numbers, with replacement."""
        drawn = np.searchsorted(self._bounds, self._generator.random(self.n) * self._bounds[-1]) + 1
        return torch.from_numpy(np.minimum(drawn, len(self._bounds)))

    def batches(self, windows: Windows, size: int) -> Iterator[Windows]:
        """Go once over windows, those of about one length together."""
        jitter = self._generator.random(windows.n) * _SIMILAR_LENGTHS
        order = np.argsort(windows.lengths + jitter, kind="stable")
        groups = np.array_split(order, max(1, round(windows.n / size)))
        self._generator.shuffle(groups)
        return map(windows.chosen, groups)


def _train_epoch(
    network: SequenceNetwork,
    optimizer: torch.optim.Optimizer,
    windows: Windows,
    known: Known,
    draws: _Draws,
    training: SequenceTraining,
) -> float:
    """Go once over the windows; return the mean loss of an act."""
    network.train()
    total, n = 0.0, 0
    for batch in draws.batches(windows, training.batch_size):
        items, at = torch.from_numpy(batch.items), torch.from_numpy(batch.at)
        before, after = items[:, :-1], items[:, 1:]
        drawn = draws.items()
        # Only vectors of items that play a part are made; `places` says where each stands among them.
        playing = torch.cat([before.flatten(), after.flatten(), drawn])
        used, places = torch.unique(playing, return_inverse=True)
        vectors = network.item_vectors(*(tensor[used] for tensor in known))
        n_places = before.numel()
        read = network(vectors[places[:n_places]].view(*before.shape, -1), at[:, :-1])[after > 0]  # (P, D)
        wanted = after[after > 0]
        own = (read * vectors[places[n_places : 2 * n_places].view(after.shape)[after > 0]]).sum(dim=1, keepdim=True)
        others = read @ vectors[places[2 * n_places :]].T - draws.corrections[drawn]
        others = others.masked_fill(wanted[:, None] == drawn, -torch.inf)
        loss = functional.cross_entropy(torch.cat([own, others], dim=1), torch.zeros_like(wanted))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total, n = total + float(loss.detach()) * len(wanted), n + len(wanted)
    return total / n


def judge(network: SequenceNetwork, vocabulary: Vocabulary, known: Known, validation: Validation) -> float:
    """Return the NDCG@10 of what users went on to, among all items; what was never met before counts as missed."""
    acts, targets = validation.acts, vocabulary.numbers(validation.targets)
    length = network.config.n_recent
    ends = acts.starts[1:]
    bounds = [(max(int(first), int(end) - length), int(end)) for first, end in zip(acts.starts, ends, strict=False)]
    windows = Windows.of_bounds(acts, vocabulary.numbers(acts.items), bounds)
    network.eval()
    gained: list[Floats] = []
    with torch.inference_mode():
        vectors = network.item_vectors(*known)
        for first in range(0, windows.n, _JUDGED_AT_ONCE):
            rows = np.arange(first, min(first + _JUDGED_AT_ONCE, windows.n))
            batch, wanted = windows.chosen(rows), torch.from_numpy(targets[rows])
            read = network(vectors[torch.from_numpy(batch.items)], torch.from_numpy(batch.at))
            newest = read[range(len(rows)), torch.from_numpy(batch.lengths).clamp(min=1) - 1]  # (B, D)
            logits = newest @ vectors.T
            logits[:, 0] = -torch.inf
            own = logits.gather(1, wanted[:, None])
            ranks = (logits >= own).sum(dim=1)
            found = (wanted > 0) & (ranks <= _AT)
            gained.append((found / (ranks.float() + 1).log2()).numpy())
    return float(np.concatenate(gained).mean()) if gained else 0.0
