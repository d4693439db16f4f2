"""Users are packed while others act, and nobody can tell."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.decode import Received
from dataflows.steps.profile import Awake, ProfileLogic, profile_step
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import Event, Item, Request
from tests.flows.test_recommend import NOW

USERS = [f"u-{n}" for n in range(5)]


def clock() -> datetime:
    return datetime.fromtimestamp(NOW / 1_000, UTC)


def lived(room: int) -> tuple[list[Any], list[Any], int]:
    """Let users act and ask in turn; returns what came of it, their snapshots, and how many are awake at the end."""
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
    return emitted, [user.snapshot() for user in users], sum(user._packed is None for user in users)


def test_slates_and_states_are_the_same_whether_users_were_packed_in_between():
    emitted, snapshots, n_awake = lived(room=1)
    others = lived(room=100)
    assert emitted == others[0]
    assert snapshots == others[1]
    assert (n_awake, others[2]) == (1, len(USERS))


def test_who_is_forgotten_is_not_kept_among_those_awake():
    step = replace(profile_step(Settings(), Experiments(), ItemTable(NOW), clock, Counter()), awake=Awake(1))
    nobody, other = ProfileLogic(None, step), ProfileLogic(None, step)
    stranger = Event("e-1", "u", "i-1", "view", NOW, consent=False)
    assert nobody.on_batch([Received(stranger, Record(0, 0, NOW, b"u", b""), "u")])[1] is ProfileLogic.DISCARD
    assert not step.awake._users
    assert other._packed is None
