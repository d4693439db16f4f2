"""Reading whole topics, on this thread and on another."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError

from dataflows.demo.broker_process import free_port
from dataflows.errors import EddyError
from dataflows.kafka.admin import TopicError, UnreachableError
from dataflows.kafka.reader import Batch, Follower, KafkaReader, ReadError, scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.records import Record

MakeTopics = Callable[..., str]
WAIT_S = 30


def write(broker: str, topic: str, values: range) -> None:
    writer = KafkaWriter({"bootstrap.servers": broker}, topic)
    for value in values:
        writer.write(f"u{value % 7}", f"{value}".encode())
    writer.flush()


def values_of(batches: list[Batch]) -> list[int]:
    return [int(record.value or b"") for batch in batches for record in batch.records]


class ScriptedReader:
    """Gives the batches of a script, then what ends it; complete after `n_first` of them."""

    def __init__(self, script: list[Batch], end: Exception | None = None, n_first: int = 0) -> None:
        self._script = list(script)
        self._end = end
        self._n_left = n_first
        self.closed = threading.Event()

    @property
    def complete(self) -> bool:
        return self._n_left <= 0

    def poll(self, _timeout_s: float) -> list[Batch]:
        self._n_left -= 1
        if self._script:
            return [self._script.pop(0)]
        if self._end is not None:
            raise self._end
        return []

    def close(self) -> None:
        self.closed.set()


def a_batch(*values: int) -> Batch:
    return Batch("t", 0, [Record(0, value, 1, None, f"{value}".encode()) for value in values])


def test_a_follower_is_complete_once_it_has_handed_over_what_there_was_at_the_start() -> None:
    taken: list[int] = []
    reader = ScriptedReader([a_batch(1), a_batch(2, 3)], n_first=2)
    follower = Follower(cast("KafkaReader", reader), lambda batches: taken.extend(values_of(batches)), "test")
    assert follower.wait_until_complete(WAIT_S)
    assert taken == [1, 2, 3]
    follower.close()
    assert reader.closed.wait(WAIT_S)


@pytest.mark.parametrize("failure", [ReadError("t: cannot be read"), ZeroDivisionError("t: cannot be read")])
def test_what_ends_a_followers_thread_is_raised_to_whoever_waits_and_at_each_check(failure: Exception) -> None:
    failures: list[EddyError] = []
    reader = ScriptedReader([a_batch(1)], end=failure, n_first=9)
    follower = Follower(cast("KafkaReader", reader), lambda _batches: None, "test", failures.append)
    for look in (follower.wait_until_complete, follower.check):
        with pytest.raises(EddyError, match=r"thread `test` has died.*t: cannot be read"):
            look()
    assert len(failures) == 1
    assert reader.closed.wait(WAIT_S)


def test_what_fails_while_batches_are_taken_ends_the_follower_too() -> None:
    def refuse(_batches: list[Batch]) -> None:
        raise ZeroDivisionError

    follower = Follower(cast("KafkaReader", ScriptedReader([a_batch(1)])), refuse, "test")
    with pytest.raises(EddyError, match="ZeroDivisionError"):
        follower.wait_until_complete(WAIT_S)


def test_without_a_broker_nothing_is_read() -> None:
    with pytest.raises(UnreachableError):
        KafkaReader({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, ["events"], timeout_s=0.3)


@pytest.mark.kafka
def test_a_topic_that_does_not_exist_is_an_error(broker: str) -> None:
    with pytest.raises(TopicError, match="eddy topics create"):
        list(scan({"bootstrap.servers": broker}, "no-such-topic"))


@pytest.mark.kafka
def test_a_scan_ends_where_the_topic_ended_when_it_began(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics(partitions=3)}events"
    write(broker, topic, range(100))
    found = scan({"bootstrap.servers": broker}, topic)
    first = next(found)
    write(broker, topic, range(100, 200))
    assert sorted(int(record.value or b"") for record in (first, *found)) == list(range(100))
    assert list(scan({"bootstrap.servers": broker}, f"{topic.removesuffix('events')}requests")) == []


@pytest.mark.kafka
def test_a_reader_that_starts_at_the_end_gives_only_what_is_written_later(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics(partitions=2)}events"
    write(broker, topic, range(10))
    reader = KafkaReader({"bootstrap.servers": broker}, [topic], start="latest")
    try:
        assert reader.complete
        write(broker, topic, range(10, 20))
        found: list[int] = []
        for _ in range(10 * WAIT_S):
            found += values_of(reader.poll(0.1))
            if len(found) >= 10:
                break
        assert sorted(found) == list(range(10, 20))
    finally:
        reader.close()


@pytest.mark.kafka
def test_it_knows_where_a_topic_goes_on_at_a_moment(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics(partitions=2)}events"
    for first in (0, 20):
        write(broker, topic, range(first, first + 20))
        time.sleep(0.01)
    reader = KafkaReader({"bootstrap.servers": broker}, [topic])
    try:
        read: list[Batch] = []
        while not reader.complete:
            read += reader.poll(0.1)
        records = {
            place: [r for batch in read if (batch.topic, batch.partition) == place for r in batch.records]
            for place in reader.ends
        }
        moment = (
            max(record.timestamp for batch in read for record in batch.records if int(record.value or b"") < 20) + 1
        )
        assert reader.offsets_at(0) == reader.begun
        assert reader.offsets_at(moment) == {
            place: next(r.offset for r in found if r.timestamp >= moment) for place, found in records.items()
        }
        assert reader.offsets_at(moment + 10**9) == reader.ends
    finally:
        reader.close()


@pytest.mark.kafka
def test_a_partition_of_which_the_broker_does_not_say_where_it_was_is_not_taken_for_read(
    broker: str, topics: MakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"{topics(partitions=1)}events"
    reader = KafkaReader({"bootstrap.servers": broker}, [topic])
    unknown = SimpleNamespace(
        topic=topic, partition=0, offset=OFFSET_INVALID, error=KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)
    )
    consumer = SimpleNamespace(offsets_for_times=lambda *_: [unknown], close=reader.close)
    try:
        monkeypatch.setattr(reader, "_consumer", consumer)
        with pytest.raises(ReadError, match=f"{topic}/0"):
            reader.offsets_at(0)
    finally:
        monkeypatch.undo()
        reader.close()


@pytest.mark.kafka
def test_how_far_it_is_behind_can_be_asked_while_it_waits_for_messages(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics(partitions=2)}events"
    write(broker, topic, range(10))
    reader = KafkaReader({"bootstrap.servers": broker}, [topic])
    follower = Follower(reader, lambda _batches: None, "test", poll_s=0.2)
    answers: list[list[tuple[tuple[str, str], float]]] = []

    def ask() -> None:
        while len(answers) < 100 and (not answers or len(answers[-1]) < 2):
            answers.append(reader.behind())
            time.sleep(0.1)

    asking = threading.Thread(target=ask, daemon=True)
    try:
        assert follower.wait_until_complete(WAIT_S)
        asking.start()
        asking.join(WAIT_S)
        assert sorted(answers[-1]) == [((topic, "0"), 0.0), ((topic, "1"), 0.0)]
    finally:
        follower.close()


@pytest.mark.kafka
def test_a_follower_gives_what_there_was_and_then_what_comes(broker: str, topics: MakeTopics) -> None:
    prefix = topics(partitions=2)
    write(broker, f"{prefix}events", range(50))
    taken: list[int] = []
    arrived = threading.Event()

    def take(batches: list[Batch]) -> None:
        taken.extend(values_of(batches))
        if len(taken) >= 60:
            arrived.set()

    reader = KafkaReader({"bootstrap.servers": broker}, [f"{prefix}events", f"{prefix}requests"])
    follower = Follower(reader, take, "test")
    try:
        assert follower.wait_until_complete(WAIT_S)
        assert sorted(taken) == list(range(50))
        write(broker, f"{prefix}requests", range(50, 60))
        assert arrived.wait(WAIT_S)
        assert sorted(taken) == list(range(60))
        follower.check()
    finally:
        follower.close()
