import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from dataflows.demo.broker import EmbeddedBroker
from dataflows.demo.broker_process import BrokerProcess, NoBrokerError, free_port
from dataflows.demo.pacer import HOST, PAUSE_S, Pacer, corrected
from dataflows.kafka.admin import create_topics
from dataflows.kafka.reader import KafkaReader, scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.topics import EVENTS

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

METADATA, PRODUCE = 3, 0


def a_frame(api: int, correlation: int, rest: bytes) -> bytes:
    body = api.to_bytes(2, "big") + bytes(2) + correlation.to_bytes(4, "big") + rest
    return len(body).to_bytes(4, "big") + body


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its correlation id and what followed it."""
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            body = (await reader.readexactly(size))[4:]
            writer.write(len(body).to_bytes(4, "big") + body)
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def through_a_pacer(talk: Callable[[Streams, int, int], Awaitable[bytes]], *, broker_is_up: bool = True) -> bytes:
    """Let a client talk to the echo through a pacer; `talk` gets its streams, the pacer's port and the echo's."""

    async def run() -> bytes:
        port, broker_port = free_port(), free_port()
        echoing = await asyncio.start_server(echo, HOST, broker_port) if broker_is_up else None
        pacer = asyncio.ensure_future(Pacer(port, broker_port).serve())
        while not pacer.done():
            try:
                streams = await asyncio.open_connection(HOST, port)
                break
            except OSError:
                await asyncio.sleep(0.01)
        answer = await talk(streams, port, broker_port)
        streams[1].close()
        if echoing is not None:
            echoing.close()
        for task in (rest := asyncio.all_tasks() - {asyncio.current_task()}):
            task.cancel()
        await asyncio.gather(streams[1].wait_closed(), *rest, return_exceptions=True)
        return answer

    return asyncio.run(run())


async def ask(streams: Streams, frame: bytes) -> bytes:
    """Send one request; return its answer without size and correlation id."""
    streams[1].write(frame)
    size = int.from_bytes(await streams[0].readexactly(4), "big")
    return (await streams[0].readexactly(size))[4:]


def test_the_brokers_address_in_an_answer_becomes_the_pacers() -> None:
    async def talk(streams: Streams, port: int, broker_port: int) -> bytes:
        address = HOST.encode() + broker_port.to_bytes(4, "big")
        answer = await ask(streams, a_frame(METADATA, 7, b"node 1 " + address + b" node 2 " + address))
        own = HOST.encode() + port.to_bytes(4, "big")
        assert answer == b"node 1 " + own + b" node 2 " + own
        return answer

    assert through_a_pacer(talk)


def test_a_message_that_looks_like_the_address_passes_untouched() -> None:
    async def talk(streams: Streams, _port: int, broker_port: int) -> bytes:
        message = HOST.encode() + broker_port.to_bytes(4, "big")
        assert await ask(streams, a_frame(PRODUCE, 8, message)) == message
        return message

    assert through_a_pacer(talk)


def test_a_message_larger_than_any_buffer_passes_whole() -> None:
    message = bytes(range(256)) * 4_096 * 4

    async def talk(streams: Streams, _port: int, _broker_port: int) -> bytes:
        return await ask(streams, a_frame(PRODUCE, 9, message))

    assert through_a_pacer(talk) == message


def test_while_the_broker_is_down_connections_close() -> None:
    async def talk(streams: Streams, _port: int, _broker_port: int) -> bytes:
        return await streams[0].read() + b"closed"

    assert through_a_pacer(talk, broker_is_up=False) == b"closed"


@pytest.mark.kafka
def test_an_idle_consumer_asks_no_more_often_than_the_pause_allows() -> None:
    process: BrokerProcess = EmbeddedBroker()
    try:
        process.start()
    except NoBrokerError as error:
        pytest.skip(str(error))
    n_sent: list[int] = []

    def note(statistics: str) -> None:
        n_sent.append(sum(broker["tx"] for broker in json.loads(statistics)["brokers"].values()))

    servers = {"bootstrap.servers": process.broker.bootstrap_servers}
    create_topics(servers, [EVENTS], 1)
    consumer = Consumer(servers | {"group.id": "idle", "statistics.interval.ms": 500, "stats_cb": note})
    consumer.assign([TopicPartition(EVENTS.name, 0, 0)])
    began = time.monotonic()
    while len(n_sent) < 4:
        consumer.poll(0.1)
    seconds = time.monotonic() - began
    consumer.close()
    process.close()
    assert 0 < n_sent[-1] - n_sent[0] <= seconds / PAUSE_S + 20


def a_batch(first: int, size: int, producer: int = 7, attributes: int = 0x10) -> bytes:
    """One batch of records of so many bytes in all."""
    rest = bytes(9) + attributes.to_bytes(2, "big") + bytes(20) + producer.to_bytes(8, "big")
    return first.to_bytes(8, "big") + (size - 12).to_bytes(4, "big") + rest.ljust(size - 12, bytes([first % 256]))


def a_marker(offset: int, producer: int, *, commit: bool) -> bytes:
    """One batch that says how a transaction ended."""
    batch = a_batch(offset, 80, producer, 0x30)
    return batch[:61] + bytes([32, 0, 0, 0, 8, 0, 0, 0, commit]) + batch[70:]


ENDED_HERE = ((7, 0),)


def a_fetch_answer(version: int, records: list[bytes], aborted: tuple[tuple[int, int], ...] = ENDED_HERE) -> bytes:
    """Answer a fetch of one topic's partitions, each with aborted transactions, as versions 5 to 13 lay it out."""
    flexible = version >= 12
    tags = b"\0" if flexible else b""

    def length(n: int, fixed: int = 4) -> bytes:
        if not flexible:
            return n.to_bytes(fixed, "big")
        return bytes([n + 1]) if n + 1 < 128 else bytes([(n + 1) & 0x7F | 0x80, (n + 1) >> 7])

    answer = b"\0\0\0\7" + tags + bytes(4) + (bytes(6) if version >= 7 else b"") + length(1)
    answer += bytes(range(16)) if version >= 13 else length(6, 2) + b"events"
    answer += length(len(records))
    for number, batches in enumerate(records):
        answer += number.to_bytes(4, "big") + bytes(2 + 3 * 8) + length(len(aborted))
        answer += b"".join(who.to_bytes(8, "big") + began.to_bytes(8, "big") + tags for who, began in aborted)
        answer += (b"RRRR" if version >= 11 else b"") + length(len(batches)) + batches + tags
    return answer + tags + tags


@pytest.mark.parametrize("version", [5, 7, 11, 12, 13])
def test_of_an_answer_that_is_too_long_whole_batches_are_passed_on(version: int) -> None:
    records = [a_batch(0, 100) + a_batch(1, 70) + a_batch(2, 80), a_batch(0, 90) + a_batch(4, 75), b""]
    answer = a_fetch_answer(version, records)
    assert corrected(answer, version, limit=1_000) == answer
    kept = [a_batch(0, 100) + a_batch(1, 70), a_batch(0, 90), b""]
    assert corrected(answer, version, limit=180) == a_fetch_answer(version, kept)
    first = [a_batch(0, 100), a_batch(0, 90), b""]
    assert corrected(answer, version, limit=1) == a_fetch_answer(version, first)


@pytest.mark.parametrize("version", [5, 11, 13])
def test_of_the_aborted_transactions_those_are_passed_on_that_reach_into_the_answer(version: int) -> None:
    after = a_batch(10, 90) + a_marker(12, 7, commit=True)
    answer = a_fetch_answer(version, [after], ((7, 4), (7, 1)))
    assert corrected(answer, version) == a_fetch_answer(version, [after], ())
    amidst = a_batch(6, 90) + a_marker(9, 7, commit=False) + after
    assert corrected(a_fetch_answer(version, [amidst], ((7, 4),)), version) == a_fetch_answer(
        version, [amidst], ((7, 4),)
    )
    others = a_fetch_answer(version, [amidst], ((7, 1), (7, 4), (8, 2)))
    assert corrected(others, version) == a_fetch_answer(version, [amidst], ((7, 4),))
    again = a_batch(10, 90) + a_marker(12, 7, commit=False)
    assert corrected(a_fetch_answer(version, [again], ((7, 4), (7, 10))), version) == a_fetch_answer(
        version, [again], ((7, 10),)
    )


@pytest.mark.kafka
def test_a_consumer_that_has_read_past_an_aborted_transaction_reads_on(broker: str, topics: Callable[..., str]) -> None:
    topic = f"{topics(1)}recommendations"
    client = {"bootstrap.servers": broker}
    reader = KafkaReader(client, [topic])
    read: list[bytes | None] = []

    def read_until(n: int) -> None:
        deadline = time.monotonic() + 60
        while len(read) < n and time.monotonic() < deadline:
            read.extend(record.value for batch in reader.poll(0.1) for record in batch.records)

    def a_writer() -> Producer:
        writer = Producer(client | {"transactional.id": topic, "log_level": 2})
        writer.init_transactions(30)
        return writer

    crashed = a_writer()
    crashed.begin_transaction()
    crashed.produce(topic, b"never committed", "u-1", 0)
    crashed.flush(30)
    heir = a_writer()
    for number in range(3):
        heir.begin_transaction()
        heir.produce(topic, b"%d" % number, "u-1", 0)
        heir.commit_transaction(30)
        read_until(number + 1)
    reader.close()
    assert read == [b"0", b"1", b"2"]


@pytest.mark.kafka
@pytest.mark.slow
def test_a_partition_of_more_than_a_client_takes_at_once_is_read_to_its_end() -> None:
    process: BrokerProcess = EmbeddedBroker()
    try:
        process.start()
    except NoBrokerError as error:
        pytest.skip(str(error))
    client = {"bootstrap.servers": process.broker.bootstrap_servers}
    create_topics(client, [EVENTS], 1)
    writer = KafkaWriter(client, EVENTS.name)
    for number in range(300):
        writer.write(f"u-{number}", b"x" * 400_000)
    writer.flush()
    read = [record.key for record in scan(client, EVENTS.name)]
    process.close()
    assert read == [f"u-{number}".encode() for number in range(300)]
