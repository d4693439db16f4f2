"""The source against a broker: where a flow begins and goes on, whatever has happened to the topic meanwhile."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from dataflows.kafka import shared_consumer
from dataflows.kafka import source as source_module
from dataflows.kafka.admin import create_topics, topic_id
from dataflows.kafka.shared_consumer import SharedConsumer
from dataflows.kafka.source import KafkaSource, LostOffsetError
from dataflows.kafka.writer import KafkaWriter
from dataflows.topics import declare

pytestmark = pytest.mark.kafka


def write(broker: str, prefix: str, *values: int) -> None:
    writer = KafkaWriter({"bootstrap.servers": broker}, f"{prefix}events")
    for value in values:
        writer.write(f"u-{value}", b"%d" % value)
    writer.flush()


def a_source(broker: str, prefix: str, **fields: Any) -> KafkaSource:
    client: dict[str, Any] = {"bootstrap.servers": broker}
    consumer = SharedConsumer(client, f"{prefix}eddy-recommend")
    return KafkaSource(client, f"{prefix}events", consumer, stop=lambda: False, **fields)


def read(source: KafkaSource, n: int, states: dict[str, Any] | None = None) -> list[int]:
    """Open all partitions, read until n messages have come, and leave without another snapshot, as a crash would."""
    parts = [source.build_part("events", name, (states or {}).get(name)) for name in source.list_parts()]
    found: list[int] = []
    deadline = time.monotonic() + 30
    while len(found) < n and time.monotonic() < deadline:
        found += [int(record.value or b"") for part in parts for record in part.next_batch()]
    for part in parts:
        part._committed_at = part._next  # a crash commits nothing
        part.close()
    return sorted(found)


def test_a_topic_that_was_made_again_is_not_read_from_the_middle(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    client: dict[str, Any] = {"bootstrap.servers": broker}
    write(broker, prefix, 1, 2, 3)
    source = a_source(broker, prefix)
    part = source.build_part("events", "00000", None)
    while part._next < 2:
        part.next_batch()
    state = part.snapshot()
    part.close()
    admin = AdminClient(client)
    admin.delete_topics([f"{prefix}events"])[f"{prefix}events"].result()
    while f"{prefix}events" in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    create_topics(client, declare(prefix), 1)
    if topic_id(client, f"{prefix}events") == state[1]:
        pytest.skip("this broker gives a topic the id of the one before it")
    write(broker, prefix, 4, 5, 6, 7, 8)
    with pytest.raises(LostOffsetError, match="of a topic that was deleted"):
        read(a_source(broker, prefix), 1, {"00000": state})
    assert read(a_source(broker, prefix, lost_offsets="earliest"), 5, {"00000": state}) == [4, 5, 6, 7, 8]


def test_partitions_are_opened_without_a_question_to_the_broker_so_that_their_epochs_end_together(
    broker: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = topics(3)
    write(broker, prefix, *range(20))
    source = a_source(broker, prefix)
    names = source.list_parts()

    def refuse(*asked: object) -> None:
        raise AssertionError(f"asked {asked}")

    for question in ("bounds_of", "topic_id", "partitions_of"):
        monkeypatch.setattr(shared_consumer, question, refuse)
    monkeypatch.setattr(source_module, "topic_id", refuse)
    parts = [source.build_part("events", name, None) for name in names]
    found: list[int] = []
    while len(found) < 20:
        found += [int(record.value or b"") for part in parts for record in part.next_batch()]
    assert sorted(found) == [*range(20)]
    for part in parts:
        part.close()


def test_the_offset_of_an_earlier_release_is_gone_on_from(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    write(broker, prefix, 1, 2, 3)
    assert read(a_source(broker, prefix), 2, {"00000": 1}) == [2, 3]


def test_latest_loses_nothing_to_a_crash_before_the_first_snapshot(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(2)
    write(broker, prefix, *range(10))
    assert read(a_source(broker, prefix, start="latest"), 0) == []
    write(broker, prefix, *range(10, 20))
    assert read(a_source(broker, prefix, start="latest"), 10) == list(range(10, 20))
    assert read(a_source(broker, prefix, start="latest"), 10) == list(range(10, 20))


def test_latest_reads_all_of_a_partition_that_is_added_later(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    write(broker, prefix, *range(10))
    assert read(a_source(broker, prefix, start="latest"), 0) == []
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_partitions([NewPartitions(f"{prefix}events", 3)])[f"{prefix}events"].result()
    time.sleep(0.5)
    write(broker, prefix, *range(10, 40))
    assert read(a_source(broker, prefix, start="latest"), 30) == list(range(10, 40))
