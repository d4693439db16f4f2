"""The sequence models of a frozen test: trained on users' acts but the last ones, stopped by what came next."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from models.items import ItemTable
from models.messages import Event
from models.numeric.ids import hash64
from models.offline.backtest.config import BacktestConfig, Progress
from models.offline.backtest.last_acts import Split
from models.offline.train_sequence import LEAST_JUDGED, SequenceTrainingConfig, fit_twice
from models.sequence.acts import Acts
from models.sequence.checkpoint import SequenceCheckpoint, named
from models.sequence.encoder import SequenceEncoder
from models.sequence.fit import Fitted, Validation, fit

MOST_EVENTS = 200_000
"""Of a stream, the newest, that a model is trained on: more take long, and say little of what comes next."""
STOPPED_AT = 0.8
"""First share of these, after which what came next stops the training."""
EARLIER_SHARES = (0.5,)
"""Shares that more models learn from: of what such a one has seen no example is made by it."""


class SequenceModels(NamedTuple):
    """Two models of one past, each for questions whose answers it has not seen."""

    earlier: SequenceCheckpoint
    """Has not seen any user's newest training act: what a ranker learns from is asked with it."""
    later: SequenceCheckpoint
    """Has seen all training acts: it serves."""
    asked: frozenset[int]
    """Numbers of the newest training acts (`Step.number`)."""


def train_sequence_models(
    split: Split, table: ItemTable, config: BacktestConfig, progress: Progress
) -> SequenceModels | None:
    """Train both models of a past of which each user's last two acts are left out; None where there is too little.

    Parameters
    ----------
    table : what is known of the items.
    """
    users: defaultdict[str, list[tuple[int, Event]]] = defaultdict(list)
    for number, event, _ in split.train:
        if config.events.is_act(event):
            users[event.user_id].append((number, event))
    left_out = {own.test[-1].event.user_id: own.validation[-1].event for own in split.left_out}
    longer = {user_id: acts[-1] for user_id, acts in users.items() if user_id in left_out and len(acts) > 1}
    shorter = {user_id: acts[:-1] if user_id in longer else acts for user_id, acts in users.items()}
    if sum(len(acts) > 1 for acts in shorter.values()) < LEAST_JUDGED:
        return None
    earlier = _trained(shorter, {user_id: event for user_id, (_, event) in longer.items()}, table, config, progress)
    later = _trained(users, left_out, table, config, progress)
    return SequenceModels(earlier, later, frozenset(number for number, _ in longer.values()))


class Encoders(NamedTuple):
    """Models of one past, as they serve."""

    earlier: tuple[tuple[int, SequenceEncoder], ...]
    """Each from a moment on, Unix ms, before which lies all that it has seen: what a ranker learns from is asked with
    the one that has seen the most by then."""
    later: SequenceCheckpoint
    """Has seen all."""


def train_encoders(
    events: Sequence[Event],
    table: ItemTable,
    config: BacktestConfig,
    progress: Progress,
    earlier_shares: Sequence[float] = EARLIER_SHARES,
) -> Encoders | None:
    """Train models on parts of a stream, and one on all of it; None where there is too little to judge by.

    Parameters
    ----------
    events : in time order; the newest `MOST_EVENTS` count.
    table : what is known of the items.
    earlier_shares : of the events, in rising order, of which more models learn than the one that is stopped.
    """

    def report(epoch: int, _loss: float, _ndcg: float) -> None:
        progress("training the sequence model", epoch, config.sequence.max_epochs)

    newest = events[-MOST_EVENTS:]
    acts = Acts.of_events(newest, config.events)
    *sooner_at, until_at = (newest[int(share * len(newest))].timestamp for share in (*earlier_shares, STOPPED_AT))
    found = fit_twice(acts, until_at, table, SequenceTrainingConfig(fit=config.sequence), report)
    if found is None:
        return None
    as_long = replace(config.sequence, max_epochs=found.earlier.n_epochs)
    parts = [
        (at, fit(before, table, training=as_long, report=report))
        for at in sooner_at
        if (before := acts.before(at)).n_pairs
    ]
    earlier = tuple((at, _serving(part)) for at, part in [*parts, (until_at, found.earlier)])
    return Encoders(earlier, named(found.later.network, found.later.vocabulary, "backtest", {}))


def _serving(part: Fitted) -> SequenceEncoder:
    return SequenceEncoder(part.network, part.vocabulary, "backtest")


def _trained(
    users: dict[str, list[tuple[int, Event]]],
    next_acts: dict[str, Event],
    table: ItemTable,
    config: BacktestConfig,
    progress: Progress,
) -> SequenceCheckpoint:
    validation = Validation(
        _acts([event for _, event in users[user_id]] for user_id in next_acts),
        np.array([hash64(event.item_id) for event in next_acts.values()], np.int64),
    )
    n_epochs = config.sequence.max_epochs

    def report(epoch: int, _loss: float, _ndcg: float) -> None:
        progress("training the sequence model", epoch, n_epochs)

    acts = _acts([event for _, event in acts] for acts in users.values())
    found = fit(acts, table, training=config.sequence, validation=validation, report=report)
    return named(found.network, found.vocabulary, "backtest", {"n_epochs": found.n_epochs, "ndcg@10": found.ndcg})


def _acts(users: Iterable[Sequence[Event]]) -> Acts:
    return Acts.of_users([(event.timestamp, hash64(event.item_id)) for event in events] for events in users)
