"""What waits in a process for its flow: bounded in records and in bytes, whoever writes what."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from dataflows.kafka.shared_consumer import (
    ASK_EVERY_S,
    BATCH,
    LEAST_REST_S,
    MAX_BYTES,
    MAX_READ_AHEAD,
    MOST_REST_S,
    SharedConsumer,
)
from dataflows.records import Record


class AMessage:
    def __init__(self, offset: int, value: bytes, partition: int) -> None:
        self._offset, self._value, self._partition = offset, value, partition

    def topic(self) -> str:
        return "events"

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> bytes:
        return b""

    def value(self) -> bytes:
        return self._value

    def error(self) -> None:
        return None


class AClient:
    """A topic without end, whose messages all lie in one partition."""

    def __init__(self, size: int, partition: int) -> None:
        self.value, self.partition, self.n_read = b"x" * size, partition, 0

    def consume(self, n: int, _timeout: float) -> Iterator[AMessage]:
        self.n_read += n
        return (AMessage(offset, self.value, self.partition) for offset in range(n))

    def incremental_assign(self, _parts: list[Any]) -> None:
        """Nothing."""

    def incremental_unassign(self, _parts: list[Any]) -> None:
        """Nothing."""


def a_consumer(size: int, partition: int = 1) -> tuple[SharedConsumer, AClient]:
    consumer, client = SharedConsumer({}, "group", map(float, count()).__next__), AClient(size, partition)
    consumer._consumer = client  # type: ignore[assignment]
    return consumer, client


def read_for_another(consumer: SharedConsumer) -> int:
    """Ask for what is in partition 0, to which nothing comes, so that all that is read waits; say how much waits."""
    empty, full = consumer.open("events", 0, 0), consumer.open("events", 1, 0)
    for _ in range(10_000):
        consumer.take(empty)
    return len(full.records)


def test_what_waits_is_bounded_in_bytes_where_messages_are_large():
    size = 600_000
    consumer, client = a_consumer(size)
    n_waiting = read_for_another(consumer)
    # It looks how much waits before each reading, and reads a batch while half of the room is free.
    assert size * n_waiting <= MAX_BYTES + size * BATCH
    assert client.n_read == n_waiting


def test_what_waits_is_bounded_in_records_where_messages_are_small():
    consumer, _ = a_consumer(10)
    assert read_for_another(consumer) == MAX_READ_AHEAD


def test_a_partition_that_is_read_anew_leaves_room_for_what_it_held():
    consumer, _ = a_consumer(60_000)
    for _ in range(100):
        read_for_another(consumer)
        consumer.reopen("events", 1, 0)
    inbox = consumer.reopen("events", 1, 0)
    assert consumer.take(inbox)


def test_partitions_with_a_backlog_share_a_round():
    consumer, _ = a_consumer(10, partition=0)
    first, second, _idle = (consumer.open("events", number, 0) for number in range(3))
    for inbox in (first, second):
        inbox.records.extend(Record(1, offset, 0, b"", b"") for offset in range(5 * BATCH))
    assert [len(consumer.take(inbox)) for inbox in (first, second)] == [BATCH // 2, BATCH // 2]
    second.records.clear()
    assert len(consumer.take(first)) == BATCH


class ASilentClient(AClient):
    """A topic to which nothing comes unless it is put there."""

    def __init__(self) -> None:
        super().__init__(1, 0)
        self.n_asked, self.n_there = 0, 0

    def consume(self, _n: int, _timeout: float) -> Iterator[AMessage]:
        self.n_asked += 1
        n, self.n_there = self.n_there, 0
        return (AMessage(offset, self.value, self.partition) for offset in range(n))


def a_silent_consumer() -> tuple[SharedConsumer, ASilentClient, list[float]]:
    now, client = [100.0], ASilentClient()
    consumer = SharedConsumer({}, "group", lambda: now[0])
    consumer._consumer = client  # type: ignore[assignment]
    now[0] += 1
    return consumer, client, now


def test_one_question_to_the_client_is_for_all_partitions_of_a_round():
    consumer, client, now = a_silent_consumer()
    inboxes = [consumer.open("events", partition, 0) for partition in range(9)]
    for _ in range(2):
        for inbox in inboxes:
            consumer.take(inbox)
        now[0] += ASK_EVERY_S * 1.5
    assert client.n_asked == 2


def test_a_partition_rests_longer_the_longer_nothing_has_come():
    consumer, client, now = a_silent_consumer()
    inbox = consumer.open("events", 0, 0)
    client.n_there = 1
    assert len(consumer.take(inbox)) == 1
    rests = []
    for silent_s in (0.001, 0.008, 1.0):
        now[0] += silent_s
        consumer.take(inbox)
        rests.append(consumer.rest() / timedelta(seconds=1))
    assert rests == pytest.approx([LEAST_REST_S, 0.009 / 8, MOST_REST_S], abs=2e-6)


def test_what_can_wait_is_done_where_nothing_waits_for_any_partition():
    consumer, client, now = a_silent_consumer()
    done: list[float] = []
    consumer.while_idle.append(lambda: done.append(now[0]))
    empty, full = consumer.open("events", 1, 0), consumer.open("events", 0, 0)
    client.n_there = 2
    consumer.take(empty)
    assert not done  # another partition has something
    consumer.take(full)
    consumer.take(empty)
    assert len(done) == 1
