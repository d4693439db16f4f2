"""The sink against a broker: what two stops close together, other writers and a topic that grows do to it."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from zlib import crc32

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from dataflows.errors import FencedError
from dataflows.kafka import sink as sink_module
from dataflows.kafka.admin import partitions_of
from dataflows.kafka.partition_writer import DeliveryError, PartitionWriter
from dataflows.kafka.reader import scan
from dataflows.kafka.sink import GrownTopicError, KafkaSink, KafkaSinkPartition
from dataflows.records import Outgoing, Record
from dataflows.topics import NEWEST_COUNTS

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def no_client_is_left() -> Iterator[None]:
    """A writer that was opened ahead and never taken goes with the garbage, before the broker does."""
    yield
    gc.collect()


def some(*numbers: int) -> list[Outgoing]:
    return [Outgoing(f"u-{number}", f"id-{number}", b"%d" % number) for number in numbers]


def a_sink(broker: str, prefix: str, flow: str = "recommend", **fields: object) -> KafkaSink:
    return KafkaSink({"bootstrap.servers": broker}, f"{prefix}recommendations", f"{prefix}{flow}", **fields)  # type: ignore[arg-type]


def what_is_there(broker: str, prefix: str) -> list[int]:
    records: list[Record] = list(scan({"bootstrap.servers": broker}, f"{prefix}recommendations"))
    return sorted(int(record.value or b"-1") for record in records)


def grow(broker: str, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_partitions([NewPartitions(topic, partitions)])[topic].result()
    while partitions_of({"bootstrap.servers": broker}, topic) < partitions:
        time.sleep(0.1)


def test_a_flow_that_is_stopped_while_it_repeats_writes_nothing_twice(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    first = KafkaSinkPartition(a_sink(broker, prefix), 0, None)
    first.write_batch(some(*range(10)))
    at = first.snapshot()  # the flow snapshots, goes on, and is killed before the next snapshot
    first.write_batch(some(*range(10, 20)))
    first.snapshot()
    first.close()
    second = KafkaSinkPartition(a_sink(broker, prefix), 0, at)
    second.write_batch(some(*range(10, 14)))  # it repeats a part, and snapshots
    between = second.snapshot()
    second.close()
    third = KafkaSinkPartition(a_sink(broker, prefix), 0, between)
    third.write_batch(some(*range(14, 22)))
    assert third.snapshot() > between
    third.close()
    assert what_is_there(broker, prefix) == list(range(22))


def test_what_another_flow_wrote_holds_no_snapshot_back(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    for flow, numbers in (("recommend", (1, 2)), ("learn", (3, 4))):
        part = KafkaSinkPartition(a_sink(broker, prefix, flow), 0, None)
        part.write_batch(some(*numbers))
        part.snapshot()
        part.close()
    again = KafkaSinkPartition(a_sink(broker, prefix, "recommend"), 0, 0)
    owed = again.snapshot()
    again.write_batch(some(1, 2))
    assert owed == (0, 1)
    assert again.snapshot() > (3, 1)
    again.close()
    assert what_is_there(broker, prefix) == [1, 2, 3, 4]


def test_how_things_stand_in_the_end_is_the_newest_also_where_a_resumed_flow_came_there_another_way(
    broker: str, topics: Callable[..., str]
) -> None:
    """It was left out as written already, and what lay between stayed the newest for good."""
    prefix = topics(1)
    read_back = "experiment-results" not in NEWEST_COUNTS
    for states in ((1, 4, 9), (2, 9)):
        part = KafkaSinkPartition(a_sink(broker, prefix, read_back=read_back), 0, 0)
        part.write_batch([Outgoing("test", f"test@{state}", b"%d" % state) for state in states])
        part.snapshot()
        part.close()
    *_, newest = scan({"bootstrap.servers": broker}, f"{prefix}recommendations")
    assert newest.value == b"9"


def test_what_is_never_repeated_is_forgotten_after_a_while(broker: str, topics: Callable[..., str]) -> None:
    prefix, now = topics(1), [0.0]
    first = KafkaSinkPartition(a_sink(broker, prefix), 0, None)
    first.write_batch(some(1, 2))
    first.snapshot()
    first.close()
    second = KafkaSinkPartition(a_sink(broker, prefix), 0, 0, clock=lambda: now[0])
    second.write_batch(some(3))
    assert second.snapshot() == (0, 1)
    now[0] = sink_module.REPEATED_S + 1
    second.write_batch(some(4))
    assert second.snapshot() > (3, 1)
    second.close()


def test_a_topic_that_has_grown_since_a_crash_holds_nothing_twice(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    first = KafkaSinkPartition(a_sink(broker, prefix), 0, None)
    first.write_batch(some(*range(20)))
    first.snapshot()
    first.close()
    grow(broker, f"{prefix}recommendations", 3)
    sink = a_sink(broker, prefix)
    parts = [sink.build_part("recommendations", name, 0 if name == "00000" else None) for name in sink.list_parts()]
    assert len(parts) == 3
    for value in some(*range(25)):
        parts[crc32(value.key.encode()) % 3].write_batch([value])
    for part in parts:
        part.snapshot()
        part.close()
    assert what_is_there(broker, prefix) == list(range(25))


def test_a_process_of_a_cluster_refuses_to_repeat_into_a_topic_that_has_grown(
    broker: str, topics: Callable[..., str]
) -> None:
    prefix = topics(1)
    first = KafkaSinkPartition(a_sink(broker, prefix), 0, None)
    at = first.snapshot()
    first.write_batch(some(1, 2, 3))
    stopped_cleanly_at = first.snapshot()
    first.close()
    grow(broker, f"{prefix}recommendations", 3)
    with pytest.raises(GrownTopicError, match=r"from 1 to 3 partitions.*EDDY_CLUSTER__ADDRESSES"):
        KafkaSinkPartition(a_sink(broker, prefix, n_processes=2), 0, at)
    KafkaSinkPartition(a_sink(broker, prefix), 0, at).close()
    KafkaSinkPartition(a_sink(broker, prefix, n_processes=2), 0, stopped_cleanly_at).close()


def test_the_snapshot_of_an_earlier_release_is_gone_on_from(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    for resume, numbers in ((None, (1, 2)), (0, (1, 2, 3))):
        part = KafkaSinkPartition(a_sink(broker, prefix), 0, resume)
        part.write_batch(some(*numbers))
        part.snapshot()
        part.close()
    assert what_is_there(broker, prefix) == [1, 2, 3]


def test_another_flows_open_transaction_hides_nothing_from_a_writer_that_resumes(
    broker: str, topics: Callable[..., str]
) -> None:
    prefix = topics(1)
    first = KafkaSinkPartition(a_sink(broker, prefix), 0, None)
    options = {"bootstrap.servers": broker, "transactional.id": f"{prefix}hung"}
    hung = Producer(options)
    hung.init_transactions(10)
    hung.begin_transaction()
    hung.produce(f"{prefix}recommendations", b"99", "u-99", partition=0, headers=[("id", b"id-99")])
    hung.flush(10)
    first.write_batch(some(1, 2, 3))
    first.snapshot()
    first.close()
    # Whoever takes its id ends its transaction, as the broker would after some time.
    end_of_it = threading.Timer(1.0, lambda: Producer(options).init_transactions(10))
    end_of_it.start()
    second = KafkaSinkPartition(a_sink(broker, prefix), 0, 0)
    second.write_batch(some(1, 2, 3, 4))
    second.snapshot()
    second.close()
    end_of_it.join()
    assert what_is_there(broker, prefix) == [1, 2, 3, 4]


def test_a_copy_that_was_replaced_fences_nobody(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    successor = KafkaSinkPartition(a_sink(broker, prefix), 0, None)

    def replaced() -> None:
        raise FencedError("another copy has started")

    with pytest.raises(FencedError, match="another copy"):
        KafkaSinkPartition(a_sink(broker, prefix, before_open=replaced), 0, None)
    successor.write_batch(some(1))
    successor.snapshot()
    successor.close()
    assert what_is_there(broker, prefix) == [1]


def test_partitions_are_opened_side_by_side_and_not_by_the_first_message_that_comes_to_each(
    broker: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = topics(3)
    meet, opened_by = threading.Barrier(3, timeout=30), []

    class Noted(PartitionWriter):
        def __init__(self, sink: KafkaSink, partition: int) -> None:
            meet.wait()  # one after the other, nobody would come to meet the first
            opened_by.append(threading.current_thread())
            super().__init__(sink, partition)

    monkeypatch.setattr(sink_module, "PartitionWriter", Noted)
    sink = a_sink(broker, prefix)
    for number, name in enumerate(sink.list_parts()):
        part = sink.build_part("recommendations", name, None)
        part.write_batch(some(number))
        part.snapshot()
        part.close()
    assert len(set(opened_by)) == 3
    assert threading.main_thread() not in opened_by
    assert what_is_there(broker, prefix) == [0, 1, 2]


def test_a_successor_fences_all_partitions_at_its_start_also_those_that_it_has_nothing_for_yet(
    broker: str, topics: Callable[..., str]
) -> None:
    prefix = topics(2)
    first = KafkaSinkPartition(a_sink(broker, prefix), 1, None)
    sink = a_sink(broker, prefix)
    sink.list_parts()
    sink.take(1)
    first.write_batch(some(1))
    with pytest.raises(FencedError):
        first.snapshot()
    first.close()


def test_a_copy_that_was_replaced_opens_nothing_ahead(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    successor = KafkaSinkPartition(a_sink(broker, prefix), 0, None)

    def replaced() -> None:
        raise FencedError("another copy has started")

    sink = a_sink(broker, prefix, before_open=replaced)
    with pytest.raises(FencedError, match="another copy"):
        sink.list_parts()
    assert not sink.opened
    successor.write_batch(some(1))
    successor.snapshot()
    successor.close()


def test_a_copy_that_slept_while_it_opened_fences_nobody(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    successor = KafkaSinkPartition(a_sink(broker, prefix), 0, None)
    asked: list[int] = []

    def replaced_meanwhile() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise FencedError("another copy has started")

    sink = a_sink(broker, prefix, before_open=replaced_meanwhile)
    sink.list_parts()
    with pytest.raises(FencedError, match="another copy"):
        sink.take(0)
    successor.write_batch(some(1))
    successor.snapshot()
    successor.close()


def test_of_very_many_partitions_the_rest_is_opened_when_its_first_message_comes(
    broker: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "MAX_AHEAD", 1)
    sink = a_sink(broker, topics(3))
    names = sink.list_parts()
    assert list(sink.opened) == [0]
    part = sink.build_part("recommendations", names[2], None)
    part.write_batch(some(1))
    part.snapshot()
    part.close()


def test_the_processes_of_a_cluster_share_the_partitions_and_each_opens_its_own(
    broker: str, topics: Callable[..., str]
) -> None:
    prefix = topics(3)
    sinks = [a_sink(broker, prefix, process=process, n_processes=4) for process in range(4)]
    assert [sink.list_parts() for sink in sinks] == [["00000"], ["00001"], ["00002"], []]
    assert [sorted(sink.opened) for sink in sinks] == [[0], [1], [2], []]
    assert {sink.dealt[0] for sink in sinks} == {3}
    assert all(is_untouched for sink in sinks for _, is_untouched in map(sink.take, sink.opened))


def test_what_went_wrong_ahead_is_told_where_the_partition_is_needed(
    broker: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(sink: KafkaSink, partition: int) -> PartitionWriter:
        raise DeliveryError(f"{sink.topic}/{partition}: refused")

    monkeypatch.setattr(sink_module, "PartitionWriter", refused)
    sink = a_sink(broker, topics(1))
    (name,) = sink.list_parts()
    with pytest.raises(DeliveryError, match="recommendations/0: refused"):
        sink.build_part("recommendations", name, None)


def test_an_id_with_a_nul_in_it_is_told_from_one_that_begins_alike(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    values = [Outgoing("u", "a\0b", b"1"), Outgoing("u", "a\0c", b"2")]
    for resume_at in (None, 0):
        part = KafkaSinkPartition(a_sink(broker, prefix), 0, resume_at)
        part.write_batch(values)
        part.snapshot()
        part.close()
    assert what_is_there(broker, prefix) == [1, 2]


@pytest.mark.parametrize("delivery", ["transactional", "idempotent"])
def test_a_message_that_is_too_large_stops_the_flow_with_the_remedy(
    broker: str, topics: Callable[..., str], delivery: str
) -> None:
    prefix = topics(1)
    part = KafkaSinkPartition(a_sink(broker, prefix, delivery=delivery), 0, None)
    part.write_batch([Outgoing("u", "id", b"x" * 2_000_000)])
    with pytest.raises(DeliveryError, match=r"max\.message\.bytes"):
        part.snapshot()
    part.close()
