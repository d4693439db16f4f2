import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from dataflows.demo.broker import EmbeddedBroker
from dataflows.demo.broker_process import BrokerProcess, NoBrokerError, free_port
from dataflows.demo.pacer import HOST, PAUSE_S, Pacer
from dataflows.kafka.admin import create_topics
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
