"""Topics that change under a running flow."""

import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from dataflows.errors import EddyError
from dataflows.kafka.admin import create_topics, topic_id
from dataflows.kafka.watch import TopicWatch, watching_topics
from dataflows.topics import declare

pytestmark = pytest.mark.kafka


def a_watch(broker: str, prefix: str) -> TopicWatch:
    watch = TopicWatch({"bootstrap.servers": broker}, lambda _: None)
    watch.add(f"{prefix}events")
    if not watch._opened:
        pytest.skip("this broker does not describe topics")
    return watch


def delete(broker: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker})
    admin.delete_topics([topic])[topic].result()
    while topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)


def test_a_topic_that_stays_is_not_told(broker: str, topics: Callable[..., str]) -> None:
    watch = a_watch(broker, topics(1))
    assert watch.changes() == watch.changes() == []


def test_a_topic_that_has_grown_is_told(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    watch = a_watch(broker, prefix)
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_partitions([NewPartitions(f"{prefix}events", 3)])[f"{prefix}events"].result()
    deadline = time.monotonic() + 30
    while not (changes := watch.changes()):
        assert time.monotonic() < deadline
    assert f"{prefix}events has grown from 1 to 3 partitions" in changes[0]


def test_a_topic_that_is_gone_is_told_at_the_second_look(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    watch = a_watch(broker, prefix)
    delete(broker, f"{prefix}events")
    assert watch.changes() == []
    assert f"{prefix}events was deleted" in watch.changes()[0]


def test_a_topic_that_was_made_again_is_told(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    client: dict[str, str | int | float | bool] = {"bootstrap.servers": broker}
    watch, before = a_watch(broker, prefix), topic_id(client, f"{prefix}events")
    delete(broker, f"{prefix}events")
    create_topics(client, declare(prefix), 1)
    if topic_id(client, f"{prefix}events") == before:
        pytest.skip("this broker gives a topic the id of the one before it")
    assert "made again" in watch.changes()[0]


def test_a_broker_that_does_not_answer_changes_nothing() -> None:
    watch = TopicWatch({"bootstrap.servers": "127.0.0.1:1"}, lambda _: None)
    watch._look = lambda _topics: {}  # type: ignore[method-assign]  # as after a request that had no answer
    assert watch.changes() == []


def test_who_follows_topics_is_told_that_one_has_grown(broker: str, topics: Callable[..., str]) -> None:
    prefix, told = topics(1), list[EddyError]()
    a_watch(broker, prefix)
    names = [f"{prefix}events", f"{prefix}erasures"]
    with watching_topics({"bootstrap.servers": broker}, names, told.append, every_s=0.1):
        admin = AdminClient({"bootstrap.servers": broker})
        admin.create_partitions([NewPartitions(names[1], 3)])[names[1]].result()
        deadline = time.monotonic() + 60
        while not told:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert f"{names[1]} has grown" in str(told[0])


def test_who_bears_a_topic_that_is_made_again_is_told_of_growth_alone(broker: str, topics: Callable[..., str]) -> None:
    prefix, client = topics(1), dict[str, str | int | float | bool]({"bootstrap.servers": broker})
    a_watch(broker, prefix)
    watch, before = TopicWatch(client, lambda _: None, only_growth=True), topic_id(client, f"{prefix}events")
    watch.add(f"{prefix}events")
    delete(broker, f"{prefix}events")
    assert watch.changes() == watch.changes() == []
    create_topics(client, declare(prefix), 3)
    if topic_id(client, f"{prefix}events") == before:
        pytest.skip("this broker gives a topic the id of the one before it")
    assert watch.changes() == watch.changes() == []  # another topic, of as many partitions as it has
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_partitions([NewPartitions(f"{prefix}events", 4)])[f"{prefix}events"].result()
    deadline = time.monotonic() + 30
    while not (changes := watch.changes()):
        assert time.monotonic() < deadline
    assert f"{prefix}events has grown from 3 to 4 partitions" in changes[0]
