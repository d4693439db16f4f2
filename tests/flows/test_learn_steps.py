from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dataflows.run.settings import LearnSettings
from dataflows.steps.learn_items import LearnItemsLogic
from dataflows.steps.transitions import TransitionsLogic
from models.config import HistoryConfig, ProfileConfig
from models.counts.pairs import ShardBatch, add_up
from tests.models.counts.builders import DAY, NOW, a_contribution, an_act

START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = LearnSettings(shards=4, min_users=1, publish_every_s=2.0, max_rows_per_publish=2)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move_to(self, now: datetime | None) -> None:
        assert now is not None
        self.now = now


def a_batch(*items: str, shard: int = 0) -> ShardBatch:
    [batch] = add_up([a_contribution(item) for item in items], 1, DAY, DAY)
    return batch._replace(shard=shard)


def keys(rows: object) -> list[str]:
    return [row.key for row in rows]  # type: ignore[attr-defined]


def test_rows_wait_for_the_shards_turn_and_go_a_few_at_a_time():
    clock = Clock()
    shard = LearnItemsLogic(None, CONFIG, clock)
    assert shard.notify_at() is None
    assert shard.on_batch([a_batch("a", "b", "c")]) == ([], False)
    assert shard.notify_at() == START + timedelta(seconds=2)

    clock.move_to(shard.notify_at())
    rows, _ = shard.on_notify()
    assert keys(rows) == ["neighbours/a", "neighbours/b", "trending/all/0"]
    assert shard.notify_at() == START + timedelta(seconds=4)

    clock.move_to(shard.notify_at())
    rows, _ = shard.on_notify()
    assert keys(rows) == ["neighbours/c"]
    assert shard.notify_at() is None


def test_further_changes_do_not_put_off_the_turn():
    clock = Clock()
    shard = LearnItemsLogic(None, CONFIG, clock)
    shard.on_batch([a_batch("a")])
    due = shard.notify_at()
    clock.now += timedelta(seconds=1)
    shard.on_batch([a_batch("b")])
    assert shard.notify_at() == due


def test_shards_take_turns():
    dues = set()
    for number in range(4):
        shard = LearnItemsLogic(None, CONFIG, Clock())
        shard.on_batch([a_batch("a", shard=number)])
        dues.add(shard.notify_at())
    assert dues == {START + timedelta(seconds=half / 2) for half in (1, 2, 3, 4)}


def test_the_end_of_the_input_publishes_all_at_once():
    shard = LearnItemsLogic(None, CONFIG, Clock())
    shard.on_batch([a_batch("a", "b", "c", shard=3)])
    rows, discard = shard.on_eof()
    assert keys(rows) == ["neighbours/a", "neighbours/b", "neighbours/c", "trending/all/3"]
    assert not discard
    assert shard.on_eof() == ([], False)


def test_a_resumed_shard_publishes_at_once_what_waits_and_only_that():
    clock = Clock()
    shard = LearnItemsLogic(None, CONFIG, clock)
    shard.on_batch([a_batch("a", "b", "c", shard=3)])
    shard.on_notify()
    resumed = LearnItemsLogic(shard.snapshot(), CONFIG, clock)
    assert resumed.notify_at() == START
    rows, _ = resumed.on_notify()
    assert keys(rows) == ["neighbours/c"]
    assert LearnItemsLogic(resumed.snapshot(), CONFIG, clock).notify_at() is None


def test_a_shard_that_lost_its_state_publishes_above_its_old_versions():
    clock = Clock()
    lost = LearnItemsLogic(None, CONFIG, clock)
    lost.on_batch([a_batch(*["a"] * 1_000)])
    clock.now += timedelta(milliseconds=1)
    rebuilt = LearnItemsLogic(None, CONFIG, clock)
    rebuilt.on_batch([a_batch("a")])
    [[old, _], [new, _]] = [list(shard.on_eof()[0]) for shard in (lost, rebuilt)]
    assert int(new.record_id.split("@")[1]) > int(old.record_id.split("@")[1])


def test_an_item_that_is_forgotten_gets_a_tombstone_at_once():
    shard = LearnItemsLogic(None, replace(CONFIG, half_life_long_s=14 * DAY // 1_000), Clock())
    shard.on_batch([a_batch("a")])
    [late] = add_up([a_contribution("b", at=NOW + 300 * DAY)], 1, DAY, DAY)
    rows, _ = shard.on_batch([late])
    assert [(row.key, row.value) for row in rows] == [("neighbours/a", None)]


def test_an_idle_user_is_forgotten_but_not_one_who_came_back():
    clock = Clock()
    config = ProfileConfig()
    user = TransitionsLogic(None, config, clock, Counter(), HistoryConfig(history=0))
    first = user.notify_at()
    clock.now += timedelta(hours=3)
    user.on_batch([an_act("a")])
    last = clock.now + timedelta(milliseconds=config.expire_after_ms)
    clock.move_to(first)
    assert user.on_notify() == ((), user.RETAIN)
    assert user.notify_at() == last
    clock.move_to(user.notify_at())
    assert user.on_notify() == ((), user.DISCARD)
