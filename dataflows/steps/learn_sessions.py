"""The step that publishes each user's newest session, changes within a short time once; a shard of the users a key."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.records import Outgoing
from dataflows.run.settings import LearnSettings
from dataflows.steps.shards import next_turn, outgoing, shard_key, tombstone
from dataflows.steps.transitions import Taught
from models.counts.history import Withdrawal
from models.counts.sessions import NewestSessions
from models.counts.transitions import Contribution
from models.items.wire import session_key


class ShardContributions(NamedTuple):
    """What a batch of events teaches one shard of the users."""

    shard: int
    contributions: list[Contribution | Withdrawal]


class LearnSessionsLogic(StatefulBatchLogic[ShardContributions, Outgoing, bytes]):
    """One shard. What waits to be published is part of its state; at the end of its input it publishes all."""

    def __init__(self, packed: bytes | None, config: LearnSettings, clock: Callable[[], datetime]) -> None:
        self._config = config
        self._clock = clock
        self._sessions = NewestSessions.unpack(packed, config.sessions) if packed else NewestSessions(config.sessions)
        self._publish_at = clock() if self._sessions.changed else None

    def on_batch(self, values: list[ShardContributions]) -> tuple[Iterable[Outgoing], bool]:
        """Learn; publish later, but at once that an erased user's session goes."""
        config = self._config
        gone: list[Outgoing] = []
        for shard, taught in values:
            for value in taught:
                if isinstance(value, Withdrawal):
                    gone += (tombstone(session_key(place)) for place in self._sessions.withdraw(value.users))
                else:
                    self._sessions.learn([value])
            if self._publish_at is None:
                self._publish_at = next_turn(self._clock(), shard, config.shards, config.publish_every_s)
        return gone, self.RETAIN

    def on_notify(self) -> tuple[Iterable[Outgoing], bool]:
        """Publish what has changed."""
        self._publish_at = None
        return self._publish(), self.RETAIN

    def on_eof(self) -> tuple[Iterable[Outgoing], bool]:
        """Publish what has changed."""
        return self.on_notify()

    def notify_at(self) -> datetime | None:
        """Return when to publish next."""
        return self._publish_at

    def snapshot(self) -> bytes:
        """Pack what waits."""
        return self._sessions.pack()

    def _publish(self) -> list[Outgoing]:
        return [outgoing(row) for row in self._sessions.take_changed()]


def learn_sessions(
    step_id: str,
    taught: KeyedStream[Taught],
    config: LearnSettings,
    clock: Callable[[], datetime],
) -> KeyedStream[Outgoing]:
    """Learn sessions: (row key, Outgoing).

    Parameters
    ----------
    clock : aware, as the engine's notifications are.
    """

    def by_shard(keyed: list[tuple[str, Taught]]) -> list[tuple[str, ShardContributions]]:
        shards: defaultdict[int, list[Contribution | Withdrawal]] = defaultdict(list)
        for _, value in keyed:
            if isinstance(value, Contribution):
                shards[value.user % config.sessions % config.shards].append(value)
            elif isinstance(value, Withdrawal):
                for user in value.users:
                    shards[user % config.sessions % config.shards].append(Withdrawal((user,), ()))
        return [(shard_key(shard), ShardContributions(shard, learned)) for shard, learned in shards.items()]

    sharded = op.flat_map_batch(f"{step_id}_by_shard", taught, by_shard)
    rows = op.stateful_batch(step_id, sharded, lambda packed: LearnSessionsLogic(packed, config, clock))
    return op.map(f"{step_id}_rows", rows, lambda keyed: (keyed[1].key, keyed[1]))
