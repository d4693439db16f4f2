"""A sequence model whose items and attributes become more while it is trained, an example at a time.

Items and attributes have numbers in the order in which they came; a vocabulary goes by their hashes, so what is frozen
is laid out anew.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Embedding, functional

from models.items.columns import Columns
from models.numeric.arrays import Doubles, Int64s
from models.online.versions import MAX_PARTS, PART_BYTES
from models.sequence.checkpoint import SequenceCheckpoint
from models.sequence.config import OnlineSequenceConfig
from models.sequence.network import SequenceNetwork
from models.sequence.vocabulary import Facts, Vocabulary

_MOST_BYTES = MAX_PARTS * PART_BYTES * 3 // 8
"""Of the vectors of all items, and of all attributes: more could not be published."""
_EPSILON = 1e-3
"""Of AdamW: what is drawn and hardly ever expected has a gradient far below it, and stays where it is. With PyTorch's
1e-8 it moves by the full learning rate at each draw, so a domain whose people sleep is forgotten meanwhile."""
_KEPT = 0.8
"""Of the items that there is a place for, those that stay where one is wanted and all are taken."""
_TIDIED_EVERY = 1_000
"""Steps after which is looked again for attributes that can go."""
_ROOM = 1_024
"""Items and attributes for which there is room at least, before tables have to grow."""


Describe: TypeAlias = Callable[[Int64s, Columns], Facts]
"""Describes (M,) items by what a table says of them."""


class SequenceAct(NamedTuple):
    """What a user did."""

    user: int
    """Hash, as of the item."""
    item: int
    at: int
    """Unix ms."""


class Followed(NamedTuple):
    """An act, and the newest ones of its user before it: an example."""

    act: SequenceAct
    before: Int64s
    """(T, 2) at, -item: oldest first, of one moment by the item, as a profile orders them; T from 1 to what is read."""


class Drawn(NamedTuple):
    """Items that are drawn, all users' alternatives to what they went on to."""

    items: Int64s
    """(n,) hashes."""
    corrections: Tensor
    """(n,) log(n q)."""


class GrowingModel:
    """A network whose tables of items and attributes grow, and what trains it.

    Parameters
    ----------
    start : the model that it goes on from.
    config : how it learns. `max_items` may have a vector of their own, and as many attributes; fewer where vectors are
        so wide that more could not be published, more where the model has more already. What comes to a full table
        takes the places of items that were acted on least, and of attributes that no item has any more.
    """

    def __init__(self, start: SequenceCheckpoint, config: OnlineSequenceConfig) -> None:
        most = min(config.max_items, _MOST_BYTES // (4 * start.network.config.n_dimensions + 8))
        items, attributes = start.vocabulary
        self._items = _Numbers(items, max(most, len(items)))
        self._attributes = _Numbers(attributes, max(most, len(attributes)))
        self.network = _copied(start.network, np.arange(len(self._items)), np.arange(len(self._attributes)))
        self.n_recent = self.network.config.n_recent
        self._config = config
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, eps=_EPSILON, weight_decay=0.0
        )
        self._n_steps = 0
        self._tidied_at = -_TIDIED_EVERY
        self._n_trained = len(self._items)
        """Items with the first numbers are of the model that it went on from."""
        self._counts = np.zeros(len(self._items) + 1)
        """Acts on an item, by its number."""

    def begun_anew(self, start: SequenceCheckpoint) -> "GrowingModel":
        """Go on from another model, with what was counted until now."""
        anew = GrowingModel(start, self._config)
        numbers = [anew._number(item) for item in self._items.names.tolist()]
        anew._counts[numbers] = self._counts[1 : len(numbers) + 1]
        return anew

    def count(self, item: int) -> None:
        """Count an act on an item, which may be new."""
        number = self._number(item)
        self._counts[number] += 1

    def _number(self, item: int) -> int:
        """Look up an item, giving it a number and room for its counts if it has none and there is one left."""
        number = self._items.ensure(item)
        if number >= len(self._counts):
            self._counts = np.pad(self._counts, (0, len(self._counts) + _ROOM))
        return number

    def draw(self, n: int, seed: int) -> Drawn:
        """Draw items, half of them by how often they were acted on, as many as there are at most."""
        counts = self._counts[1 : len(self._items) + 1]  # what has no number is none of the alternatives
        q = 0.5 / len(counts) + 0.5 * counts / max(counts.sum(), 1)
        bounds = np.cumsum(q)
        n = min(n, len(counts))
        drawn = np.searchsorted(bounds, np.random.default_rng(seed).random(n) * bounds[-1])
        drawn = np.minimum(drawn, len(counts) - 1)
        return Drawn(self._items.names[drawn], torch.from_numpy(np.log(n * q[drawn]).astype(np.float32)))

    def facts(self, items: Int64s, table: Columns) -> Facts:
        """Describe (M,) items by what the table says of them."""
        rows = table.rows_of(items)
        known = (rows >= 0)[:, None]
        attributes = np.where(known, table.attributes[rows], 0)
        return Facts(
            self._items.of(items),
            self._attributes.of(attributes),
            np.where(known, table.vectors[rows], 0).astype(np.int8),
        )

    def meet(self, acted_on: Int64s, drawn: Int64s, table: Columns) -> None:
        """Give numbers and room to items that are new, and to what describes these and those that were drawn.

        Items begin with nothing of their own, and so do attributes.
        """
        if not all(map(self._items.has, acted_on.tolist())):
            self._let_go()
            for item in acted_on.tolist():
                self._number(item)
        attributes = _attributes_of(np.concatenate([acted_on, drawn]), table)
        if not all(map(self._attributes.ensure, attributes)) and self._n_steps >= self._tidied_at + _TIDIED_EVERY:
            self._tidied_at = self._n_steps
            self._let_attributes_go(table)
            for attribute in attributes:
                self._attributes.ensure(attribute)
        self._make_room()

    def learn(self, batch: Sequence[Followed], draws: Drawn, table: Columns, seed: int) -> None:
        """Take a step: a softmax over the item that came next and those that were drawn (`models.sequence.fit`)."""
        self._n_steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * min(1.0, self._n_steps / self._config.n_warm_up)
        laid = laid_out(batch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            own, others = _logits(self.network.train(), self.facts, laid, draws.items, table)
            is_own = torch.from_numpy(laid.targets[:, None] == draws.items)
            others = (others - draws.corrections).masked_fill(is_own, -torch.inf)
            loss = functional.cross_entropy(torch.cat([own, others], dim=1), torch.zeros(len(batch), dtype=torch.long))
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def frozen(self) -> tuple[SequenceNetwork, Vocabulary]:
        """Copy the network, its tables in the order of a vocabulary."""
        self._make_room()
        items, attributes = self._items, self._attributes
        network = _copied(self.network, items.by_name, attributes.by_name)
        known = Vocabulary(items.names[items.by_name], attributes.names[attributes.by_name].astype(np.uint32))
        return network.eval(), known

    def _let_go(self) -> None:
        """Take the places of the items that were acted on least, newer ones first; what is older counts half as much.

        So ids that nobody ever acted on twice, as a producer makes them that has gone wrong, keep nobody out, nor do
        they push out what the model was trained on, which counts one act more.
        """
        self._make_room()
        counts = self._counts[1 : len(self._items) + 1]
        is_trained = np.arange(len(counts)) < self._n_trained
        kept = np.sort(np.argsort(-(counts + is_trained), kind="stable")[: int(_KEPT * len(counts))])
        self._items, self._n_trained = self._items.of_places(kept), int(is_trained[kept].sum())
        self._counts = np.pad(counts[kept] / 2, (1, _ROOM))
        self._keep(self.network.items, kept)

    def _let_attributes_go(self, table: Columns) -> None:
        """Take the places of attributes that none of the items has any more, as of words of titles that are gone."""
        self._make_room()
        names = self._attributes.names
        kept = np.flatnonzero(np.isin(names, _attributes_of(self._items.names, table)))
        self._attributes = self._attributes.of_places(kept)
        self._keep(self.network.attributes, kept)

    def _keep(self, table: Embedding, places: Int64s) -> None:
        """Move the rows at some places, from 0, to the beginning; those behind them are empty."""
        rows = torch.from_numpy(np.concatenate([[0], places + 1]))
        self._lay_out(table, lambda held: functional.pad(held[rows], (0, 0, 0, len(held) - len(rows))))

    def _lay_out(self, table: Embedding, change: Callable[[Tensor], Tensor]) -> None:
        """Change the rows of a table, and of what the optimiser keeps for each."""
        state: dict[str, Any] = self._optimizer.state.get(table.weight, {})
        for name in ("exp_avg", "exp_avg_sq"):
            if name in state:
                state[name] = change(state[name])
        table.weight.data = change(table.weight.data)
        table.num_embeddings = len(table.weight)

    def _make_room(self) -> None:
        """Let the tables grow to twice what is needed, where they are too small."""
        for table, needed in ((self.network.items, len(self._items)), (self.network.attributes, len(self._attributes))):
            missing = needed + 1 - table.num_embeddings
            if missing <= 0:
                continue
            room = missing + needed + _ROOM
            self._lay_out(table, lambda held, room=room: functional.pad(held, (0, 0, 0, room)))  # type: ignore[misc]


def _attributes_of(items: Int64s, table: Columns) -> list[int]:
    """List what a table says that some items have, each once."""
    rows = table.rows_of(items)
    attributes = np.unique(table.attributes[rows[rows >= 0]])
    known: list[int] = attributes[attributes != 0].tolist()
    return known


class _Numbers:
    """Gives names numbers from 1, in the order in which they come.

    Parameters
    ----------
    names : of those that have one already.
    most : names beyond so many get none: 0.
    """

    def __init__(self, names: NDArray[Any], most: int) -> None:
        self._most = most
        self._number_of = {name: number for number, name in enumerate(names.tolist(), 1)}
        self._names: Int64s = names.astype(np.int64)
        self._by_name: Int64s = np.argsort(self._names)

    def __len__(self) -> int:
        return len(self._number_of)

    @property
    def names(self) -> Int64s:
        """(V,) in the order of their numbers."""
        self._lay_out()
        return self._names

    @property
    def by_name(self) -> Int64s:
        """(V,) places in `names` of rising names."""
        self._lay_out()
        return self._by_name

    def has(self, name: int) -> bool:
        """Say whether a name has a number."""
        return name in self._number_of

    def of_places(self, places: Int64s) -> "_Numbers":
        """Keep the names at some places, in that order."""
        return _Numbers(self.names[places], self._most)

    def ensure(self, name: int) -> int:
        """Look up a name, giving it a number if it has none and there is one left."""
        if len(self._number_of) >= self._most:
            return self._number_of.get(name, 0)
        return self._number_of.setdefault(name, len(self._number_of) + 1)

    def of(self, names: NDArray[Any]) -> Int64s:
        """Look up (...,) names: numbers, 0 unknown."""
        if not len(self):
            return np.zeros(names.shape, np.int64)
        order = self.by_name
        places = order[np.minimum(np.searchsorted(self.names, names, sorter=order), len(order) - 1)]
        return np.where(self.names[places] == names, places + 1, 0)

    def _lay_out(self) -> None:
        if len(self._names) < len(self._number_of):
            self._names = np.fromiter(self._number_of, np.int64, len(self._number_of))
            self._by_name = np.argsort(self._names)


class LaidOut(NamedTuple):
    """B examples as arrays, T acts wide."""

    items: Int64s
    """(B, T) hashes, oldest first; 0 behind."""
    at: Int64s
    """(B, T)"""
    lengths: Int64s
    """(B,)"""
    targets: Int64s
    """(B,) hashes."""


def laid_out(batch: Sequence[Followed]) -> LaidOut:
    """Lay out B examples, one at least."""
    lengths = np.array([len(one.before) for one in batch], np.int64)
    at, items = np.zeros((2, len(batch), int(lengths.max())), np.int64)
    is_there = np.arange(at.shape[1]) < lengths[:, None]
    at[is_there], items[is_there] = np.concatenate([one.before for one in batch]).T
    return LaidOut(-items, at, lengths, np.array([one.act.item for one in batch], np.int64))


def _copied(network: SequenceNetwork, items: Int64s, attributes: Int64s) -> SequenceNetwork:
    """Copy a network, of its tables (V,) items and (A,) attributes in this order, from 0."""
    weights = network.state_dict()
    for table, order in (("items", items), ("attributes", attributes)):
        rows = torch.from_numpy(np.concatenate([[0], order + 1]))
        weights[f"{table}.weight"] = weights[f"{table}.weight"][rows]
    copied = SequenceNetwork(network.config, len(items), len(attributes))
    copied.load_state_dict(weights)
    return copied


def _logits(
    network: SequenceNetwork, describe: Describe, laid: LaidOut, drawn: Int64s, table: Columns
) -> tuple[Tensor, Tensor]:
    """Compute the logits of what each of B users went on to, (B, 1), and of (n,) drawn items, (B, n)."""
    asked = np.concatenate([laid.items.ravel(), laid.targets, drawn])
    used, places = np.unique(asked, return_inverse=True)  # the vector of an item is made once
    vectors = network.item_vectors(*map(torch.from_numpy, describe(used, table)))[torch.from_numpy(places)]
    before, targets, others = torch.split(vectors, [laid.items.size, len(laid.targets), len(drawn)])
    read = network.newest(before.view(*laid.items.shape, -1), torch.from_numpy(laid.at), torch.from_numpy(laid.lengths))
    return (read * targets).sum(dim=1, keepdim=True), read @ others.T


def gains_of(network: SequenceNetwork, describe: Describe, laid: LaidOut, drawn: Int64s, table: Columns) -> Doubles:
    """Return 1 / the rank of what each user went on to, among it and the drawn items: (B,)."""
    network.eval()
    with torch.inference_mode():
        own, others = _logits(network, describe, laid, drawn, table)
    is_other = drawn != laid.targets[:, None]
    is_below = (others < own).numpy()  # no number is below none: a model that has gone wrong puts everything first
    gains: Doubles = 1 / (1 + (~is_below & is_other).sum(axis=1))
    return gains
