"""From a past to a sequence model: stopped by what users did in its newest part, then trained on all of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.events import EventConfig
from models.items.columns import Columns
from models.messages import Event
from models.offline.seen import LEARNED, sample_of
from models.sequence.acts import Acts
from models.sequence.checkpoint import SequenceCheckpoint, named
from models.sequence.config import SequenceConfig, SequenceTraining
from models.sequence.fit import Fitted, Report, Validation, fit

LEAST_JUDGED = 50
"""Users who judge a model, at least: nothing is known of it by fewer."""


@dataclass(frozen=True, slots=True)
class SequenceTrainingConfig:
    """What to train on, and how."""

    shape: SequenceConfig = field(default_factory=SequenceConfig)
    fit: SequenceTraining = field(default_factory=SequenceTraining)
    events: EventConfig = field(default_factory=EventConfig)
    train_share: float = 0.9
    """Of the time from the first act to the last; what lies behind it validates."""


@dataclass(frozen=True, slots=True)
class TrainedSequence:
    """What a training came to."""

    checkpoint: SequenceCheckpoint
    n_acts: int
    n_judged: int
    ndcg: float
    """At 10, among all items, of the acts that validated; before it was trained on all."""


def train_sequence(
    events: Sequence[Event],
    table: Columns,
    data_set: str,
    path: Path,
    config: SequenceTrainingConfig | None = None,
    on_epoch: Report | None = None,
    start: SequenceCheckpoint | None = None,
) -> TrainedSequence:
    """Train a sequence model and save it with what it came from.

    First it is trained on what lies before the newest part, and users' newest acts in that part say after how many
    epochs it is best: each is predicted from all that its user did before. Then it is trained once more, as long, on
    everything.

    Parameters
    ----------
    events
        In time order.
    table
        What is known of the items.
    data_set
        What the events are; part of the version.
    path
        The file to write.
    on_epoch
        Called after each epoch with its number, the training loss and the validation's NDCG@10; 0 in the second round.
    start
        A model to go on from: items and attributes that it knows keep their vectors.

    Raises
    ------
    ValueError
        Where too few users went on to something in the newest part.
    """
    config = config or SequenceTrainingConfig()
    acts = Acts.of_events(events, config.events)
    if not len(acts.at):
        raise ValueError("there are no acts, events with a weight above 0, so there is nothing to learn from")
    first_at, last_at = int(acts.at.min()), int(acts.at.max())
    until_at = first_at + round((last_at - first_at) * config.train_share)
    rounds = fit_twice(acts, until_at, table, config, on_epoch, start)
    if rounds is None:
        raise ValueError(
            f"fewer than {LEAST_JUDGED} users went on to something in the newest {1 - config.train_share:.0%} of the "
            "time: nothing is known of a model by so few"
        )
    earlier, later, n_judged = rounds
    provenance = {
        "data_set": data_set,
        "trained_from": _day(first_at),
        "trained_until": _day(last_at),
        "learned_until": last_at,
        "n_acts": len(acts.items),
        "n_epochs": earlier.n_epochs,
        "seed": config.fit.seed,
        "started_from": start.version if start else None,
        "validation": {"n": n_judged, "from": _day(until_at), "ndcg@10": round(earlier.ndcg, 4)},
        LEARNED: sample_of(
            (event for event in events if config.events.is_act(event)),
            start.provenance.get(LEARNED, ()) if start else (),
        ),
    }
    checkpoint = named(later.network, later.vocabulary, data_set, provenance)
    checkpoint.save(path)
    return TrainedSequence(checkpoint, len(acts.items), n_judged, earlier.ndcg)


class Rounds(NamedTuple):
    """Two models of one past."""

    earlier: Fitted
    """Has seen what lies before a moment, and was stopped by what came after it."""
    later: Fitted
    """Has seen all, as many times."""
    n_judged: int
    """Users by whom the earlier one was stopped."""


def fit_twice(
    acts: Acts,
    until_at: int,
    table: Columns,
    config: SequenceTrainingConfig,
    on_epoch: Report | None = None,
    start: SequenceCheckpoint | None = None,
) -> Rounds | None:
    """Fit a model to what lies before a moment, Unix ms, then one to everything; None where too few users judge."""
    validation = _newest(acts, until_at)
    before = acts.before(until_at)
    if len(validation.targets) < LEAST_JUDGED or not before.n_pairs:
        return None
    earlier = fit(before, table, config.shape, config.fit, validation, on_epoch, start)
    later = fit(acts, table, config.shape, replace(config.fit, max_epochs=earlier.n_epochs), None, on_epoch, start)
    return Rounds(earlier, later, len(validation.targets))


def _newest(acts: Acts, until_at: int) -> Validation:
    """Take the newest act of users who did something before it, where it lies behind a moment."""
    ends = acts.starts[1:] - 1
    some = np.flatnonzero(ends > acts.starts[:-1])
    some = some[acts.at[ends[some]] >= until_at]
    own = [acts.of_user(user) for user in some.tolist()]
    before = Acts.of_users(
        [list(zip(acts.at[of][:-1].tolist(), acts.items[of][:-1].tolist(), strict=True)) for of in own]
    )
    return Validation(before, acts.items[ends[some]])


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).date().isoformat()
