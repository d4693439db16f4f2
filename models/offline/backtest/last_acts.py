"""A past split by users: the last act of each, the one before it, and the rest."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

from models.messages import Event
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.sessions import SessionNames

LEAST_ACTS = 3
"""Acts of a user of whom any is left out: one to learn, one to choose by, one to judge by."""


class Step(NamedTuple):
    """An event on its way into its user's state."""

    number: int
    """In the whole past, which is taken for the offset in a partition."""
    event: Event
    session: Hashable
    """Whether the user is still on the item of the event before."""


class LeftOut(NamedTuple):
    """What does not train of one user's events: each part ends with the act that is to be predicted."""

    validation: list[Step]
    test: list[Step]


class Split(NamedTuple):
    """A past, split."""

    train: list[Step]
    """In time order."""
    left_out: list[LeftOut]
    """One a user with three acts or more."""


def leave_last_two_out(events: Sequence[Event], config: BacktestConfig) -> Split:
    """Split prepared events by the acts of each user.

    Of two acts at one time, the later one in the file is the later one. What happened between two acts and is none,
    such as an impression, goes with the act that follows; what came after the last one is left away. All events of
    users with fewer than three acts train.
    """
    names = SessionNames(config.profile)
    steps = [Step(number, event, names.of(event)) for number, event in enumerate(events)]
    of_users: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        of_users[step.event.user_id].append(step)
    left_out: list[LeftOut] = []
    not_trained: set[int] = set()
    for own in of_users.values():
        ends = [place + 1 for place, step in enumerate(own) if config.events.is_act(step.event)]
        if len(ends) < LEAST_ACTS:
            continue
        train_end, validation_end, test_end = ends[-3:]
        left_out.append(LeftOut(own[train_end:validation_end], own[validation_end:test_end]))
        not_trained.update(step.number for step in own[train_end:])
    return Split([step for step in steps if step.number not in not_trained], left_out)


def without_session_ids(split: Split) -> Split:
    """Leave a pause alone to end the sessions that are learned."""

    def changed(steps: Sequence[Step]) -> list[Step]:
        return [step._replace(event=replace(step.event, session_id=None)) for step in steps]

    return Split(changed(split.train), [LeftOut(changed(own.validation), changed(own.test)) for own in split.left_out])
