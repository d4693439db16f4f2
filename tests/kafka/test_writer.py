from collections.abc import Callable

import pytest

from dataflows.demo.broker_process import free_port
from dataflows.errors import FencedError
from dataflows.kafka.reader import KafkaReader
from dataflows.kafka.sole_writer import SoleWriter
from dataflows.kafka.writer import KafkaWriter, WriteError
from dataflows.records import Record

pytestmark = pytest.mark.kafka

MakeTopics = Callable[..., str]


def read(broker: str, topic: str, n: int) -> list[Record]:
    reader = KafkaReader({"bootstrap.servers": broker}, [topic])
    try:
        records: list[Record] = []
        for _ in range(100):
            records += [record for batch in reader.poll(0.1) for record in batch.records]
            if len(records) >= n:
                break
        return records
    finally:
        reader.close()


def nobody() -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": f"127.0.0.1:{free_port()}"}


def test_all_that_was_written_is_there_once_and_a_users_messages_in_order(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics(partitions=2)}events"
    writer = KafkaWriter({"bootstrap.servers": broker}, topic)
    written = [(f"u{k % 7}", f"{k}".encode()) for k in range(500)]
    for key, value in written:
        writer.write(key, value)
    writer.flush()
    records = read(broker, topic, len(written))
    assert len(records) == len(written)
    for user in {key for key, _ in written}:
        mine = [record for record in records if record.key == user.encode()]
        assert len({record.partition for record in mine}) == 1
        assert [record.value for record in mine] == [value for key, value in written if key == user]


def test_a_message_without_a_value_is_a_tombstone(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics()}catalog"
    writer = KafkaWriter({"bootstrap.servers": broker}, topic)
    writer.write("i-1", None)
    writer.flush()
    [record] = read(broker, topic, 1)
    assert (record.key, record.value) == (b"i-1", None)


def test_a_full_queue_is_waited_for(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics(partitions=1)}events"
    writer = KafkaWriter({"bootstrap.servers": broker, "queue.buffering.max.messages": 3}, topic)
    for k in range(40):
        writer.write("u", f"{k}".encode())
    writer.flush()
    assert [record.value for record in read(broker, topic, 40)] == [f"{k}".encode() for k in range(40)]


def test_a_message_that_can_never_be_sent_is_refused_at_once(broker: str, topics: MakeTopics) -> None:
    topic = f"{topics()}events"
    writer = KafkaWriter({"bootstrap.servers": broker, "message.max.bytes": 1_000}, topic)
    with pytest.raises(WriteError, match=r"cannot be sent: .*too large"):
        writer.write("u", b"x" * 2_000)


def test_without_a_broker_the_flush_fails() -> None:
    writer = KafkaWriter(nobody(), "events", timeout_s=0.3)
    writer.write("u", b"x")
    with pytest.raises(WriteError, match=r"events: .*not delivered"):
        writer.flush()


def test_without_a_broker_a_full_queue_fails_instead_of_waiting_on() -> None:
    writer = KafkaWriter(nobody() | {"queue.buffering.max.messages": 2}, "events", timeout_s=0.3)
    writer.write("u", b"x")
    writer.write("u", b"x")
    with pytest.raises(WriteError, match="a message was not delivered"):
        writer.write("u", b"x")


def test_what_one_writer_writes_together_is_there_whole_or_not_at_all(broker: str, topics: MakeTopics) -> None:
    prefix = topics(partitions=1)
    topic = f"{prefix}model-updates"
    writer = SoleWriter({"bootstrap.servers": broker, "message.max.bytes": 100_000}, topic, f"{prefix}one", "writer")
    with pytest.raises(WriteError, match="nothing was written"):
        writer.write([("a", b"part"), ("b", b"x" * 200_000)])
    writer.write((f"k{n}", b"whole") for n in range(20))
    assert [record.value for record in read(broker, topic, 20)] == [b"whole"] * 20


def test_a_second_writer_of_a_name_fences_the_first(broker: str, topics: MakeTopics) -> None:
    prefix = topics(partitions=1)
    topic = f"{prefix}model-updates"
    first = SoleWriter({"bootstrap.servers": broker}, topic, f"{prefix}one", "`eddy models follow`")
    first.write([("a", b"1")])
    second = SoleWriter({"bootstrap.servers": broker}, topic, f"{prefix}one", "`eddy models follow`")
    with pytest.raises(FencedError, match="Another `eddy models follow` has started"):
        first.write([("a", b"2"), ("b", b"2")])
    second.write([("a", b"3")])
    assert [record.value for record in read(broker, topic, 2)] == [b"1", b"3"]


def test_one_writer_that_finds_no_broker_says_so() -> None:
    with pytest.raises(WriteError, match="eddy doctor"):
        SoleWriter(nobody(), "model-updates", "one", "writer", timeout_s=1.0)
