"""Users are packed while others act, and nobody can tell."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.decode import Received
from dataflows.steps.profile import Awake, ProfileLogic, profile_step
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import Event, Item, Request
from models.user.state import UserState
from tests.flows.test_recommend import NOW

USERS = [f"u-{n}" for n in range(5)]


def clock() -> datetime:
    return datetime.fromtimestamp(NOW / 1_000, UTC)


def lived(room: int, packed_ahead: int = 0) -> tuple[list[Any], list[Any], int]:
    """Let users act and ask in turn; returns what came of it, their snapshots, and how many are awake at the end.

    Parameters
    ----------
    packed_ahead : how many are packed after each message, as where nothing arrives for a while.
    """
    table = ItemTable(NOW)
    table.apply_items([Item(f"i-{n}", categories=[f"c-{n % 3}"], price=n + 1.0) for n in range(9)], [])
    step = replace(profile_step(Settings(), Experiments(), table, clock, Counter()), awake=Awake(room))
    users = [ProfileLogic(None, step) for _ in USERS]
    emitted: list[Any] = []
    for n in range(60):
        user, at = (3 * n + n // 4) % len(USERS), NOW + n * 1_000
        kind = ("view", "impression", "rating", "purchase")[n % 4]
        message: Event | Request = Event(f"e-{n % 50}", USERS[user], f"i-{n % 9}", kind, at, value=float(n % 5))
        if n % 7 == 0:
            message = Request(f"r-{n // 2}", USERS[user], at)
        record = Record(0, n, at, USERS[user].encode(), b"")
        emitted += users[user].on_batch([Received(message, record, USERS[user])])[0]
        for _ in range(packed_ahead):
            step.awake.pack_one()
    return emitted, [user.snapshot() for user in users], sum(user._unpacked is not None for user in users)


def test_slates_and_states_are_the_same_whether_users_were_packed_in_between():
    emitted, snapshots, n_awake = lived(room=1)
    others = lived(room=100)
    assert emitted == others[0]
    assert snapshots == others[1]
    assert (n_awake, others[2]) == (1, len(USERS))


@pytest.mark.parametrize("packed_ahead", [1, 9])
def test_who_was_packed_ahead_of_a_snapshot_is_the_same_in_it_whatever_came_since(packed_ahead: int):
    assert lived(100, packed_ahead) == lived(100)


def test_a_snapshot_packs_nobody_who_was_packed_ahead(monkeypatch: pytest.MonkeyPatch):
    step = profile_step(Settings(), Experiments(), ItemTable(NOW), clock, Counter())
    users = [ProfileLogic(None, step) for _ in USERS]
    for n, user in enumerate(users):
        view = Event(f"e-{n}", USERS[n], "i-1", "view", NOW)
        user.on_batch([Received(view, Record(0, n, NOW, USERS[n].encode(), b""), USERS[n])])
    for _ in users[1:]:
        step.awake.pack_one()
    packed = []
    monkeypatch.setattr(UserState, "pack", lambda user: packed.append(user) or (b"", (), 0))
    for user in users:
        user.snapshot()
    assert len(packed) == 1  # who acted last was not packed yet


def test_who_waits_to_be_packed_is_let_go_of_with_who_is_awake():
    step = replace(profile_step(Settings(), Experiments(), ItemTable(NOW), clock, Counter()), awake=Awake(2))
    for n, name in enumerate(USERS):
        view = Event(f"e-{n}", name, "i-1", "view", NOW)
        ProfileLogic(None, step).on_batch([Received(view, Record(0, n, NOW, name.encode(), b""), name)])
    assert len(step.awake._users) == len(step.awake._changed) == 2


def test_who_is_forgotten_is_not_kept_among_those_awake():
    step = replace(profile_step(Settings(), Experiments(), ItemTable(NOW), clock, Counter()), awake=Awake(1))
    nobody, other = ProfileLogic(None, step), ProfileLogic(None, step)
    stranger = Event("e-1", "u", "i-1", "view", NOW, consent=False)
    assert nobody.on_batch([Received(stranger, Record(0, 0, NOW, b"u", b""), "u")])[1] is ProfileLogic.DISCARD
    assert not step.awake._users
    step.awake.pack_one()
    assert not step.awake._changed
    assert nobody._packed is None
    assert other._packed is None
