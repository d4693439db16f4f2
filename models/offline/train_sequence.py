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
"""Acts by which a model is judged, at least: nothing is known of it by fewer."""
MOST_OF_USER = 10
"""Acts of one user that judge: of more, evenly spread ones, since those of a user are alike."""


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

    First it is trained on what lies before the newest part, and acts in that part, at most `MOST_OF_USER` of a user,
    say after how many epochs it is best: each is predicted from what its user did before. Then it is trained once more,
    as long, on everything.

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
        Where users went on to too little in the newest part.
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
            f"fewer than {LEAST_JUDGED} acts followed another one in the newest {1 - config.train_share:.0%} of the "
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
    """Acts by which the earlier one was stopped."""


def fit_twice(
    acts: Acts,
    until_at: int,
    table: Columns,
    config: SequenceTrainingConfig,
    on_epoch: Report | None = None,
    start: SequenceCheckpoint | None = None,
) -> Rounds | None:
    """Fit a model to what lies before a moment, Unix ms, then one to everything; None where too little judges."""
    validation = _validation(acts, until_at, config.shape.n_recent)
    before = acts.before(until_at)
    if len(validation.targets) < LEAST_JUDGED or not before.n_pairs:
        return None
    earlier = fit(before, table, config.shape, config.fit, validation, on_epoch, start)
    later = fit(acts, table, config.shape, replace(config.fit, max_epochs=earlier.n_epochs), None, on_epoch, start)
    return Rounds(earlier, later, len(validation.targets))


def _validation(acts: Acts, until_at: int, n_recent: int) -> Validation:
    """Take acts from a moment on of users who had done something before them, each with the `n_recent` before it."""
    bounds: list[tuple[int, int]] = []
    for first, end in zip(acts.starts[:-1].tolist(), acts.starts[1:].tolist(), strict=True):
        newest = first + 1 + np.flatnonzero(acts.at[first + 1 : end] >= until_at)
        if len(newest):
            spread = np.linspace(len(newest) - 1, 0, min(MOST_OF_USER, len(newest))).round().astype(np.int64)
            bounds += [(max(first, end - n_recent), end) for end in newest[spread].tolist()]
    before = [
        list(zip(acts.at[first:end].tolist(), acts.items[first:end].tolist(), strict=True)) for first, end in bounds
    ]
    return Validation(Acts.of_users(before), acts.items[[end for _, end in bounds]])


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).date().isoformat()
