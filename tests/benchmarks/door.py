"""The HTTP door under load: `eddy serve` as its own process, over the embedded broker, called on many connections."""

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from dataflows.codecs import encode
from dataflows.demo.broker import EmbeddedBroker, running
from dataflows.demo.flow_process import FlowProcess
from dataflows.kafka.admin import create_topics
from dataflows.kafka.writer import KafkaWriter
from dataflows.topics import declare
from models.messages import Slate, SlateItem

N_USERS, N_ITEMS = 10_000, 10
CONNECTIONS, SECONDS, WARM_UP_S = 32, 10.0, 2.0

Request = Callable[[int], bytes]


def measure_door() -> dict[str, Any]:
    """Call the door as fast as it answers, a call after the other on each connection.

    Returns
    -------
    By call: requests a second, and the latency's p50 and p99 in milliseconds.
    """
    with tempfile.TemporaryDirectory() as folder, running(EmbeddedBroker()) as process:
        client: dict[str, Any] = {"bootstrap.servers": process.broker.bootstrap_servers}
        create_topics(client, declare(), 1)
        _write_slates(client)
        door = FlowProcess(
            "serve", {"EDDY_KAFKA__BOOTSTRAP_SERVERS": process.broker.bootstrap_servers}, Path(folder) / "serve.log"
        )
        try:
            door.wait_until_ready()
            return {name: asyncio.run(_load(door.port, request)) for name, request in CALLS.items()}
        finally:
            door.send(signal.SIGTERM)
            door.wait()


def _write_slates(client: dict[str, Any]) -> None:
    writer = KafkaWriter(client, "recommendations")
    items = [
        SlateItem(
            f"i-{n}", n, 1.0 - n / 20, "session_knn", "others went on to it from One", "others_went_on", "i-1", 1.0
        )
        for n in range(N_ITEMS)
    ]
    for n in range(N_USERS):
        slate = Slate(f"s-{n}", f"u-{n}", 1, "event", f"e-{n}", None, None, "blend", 0, 1, "v1", items, 0.5)
        writer.write(slate.user_id, encode(slate))
    writer.flush()


def _read(n: int) -> bytes:
    return f"GET /users/u-{n % N_USERS}/slate HTTP/1.1\r\nhost: door\r\n\r\n".encode()


def _write(n: int) -> bytes:
    body = orjson.dumps({"user_id": f"u-{n % N_USERS}", "item_id": "i-1", "event_type": "click"})
    return b"POST /events HTTP/1.1\r\nhost: door\r\ncontent-length: %d\r\n\r\n" % len(body) + body


CALLS: dict[str, Request] = {"GET slate": _read, "POST event": _write}


async def _load(port: int, request: Request) -> dict[str, float]:
    started = time.perf_counter()
    until = started + WARM_UP_S + SECONDS
    latencies: list[float] = []

    async def call(offset: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        n = offset
        while (sent := time.perf_counter()) < until:
            writer.write(request(n))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith((b"http/1.1 200", b"http/1.1 202")), head
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            if sent > started + WARM_UP_S:
                latencies.append(1e3 * (time.perf_counter() - sent))
            n += CONNECTIONS
        writer.close()

    await asyncio.gather(*(call(offset) for offset in range(CONNECTIONS)))
    p50, p99 = np.percentile(latencies, (50, 99))
    return {
        "requests_per_s": round(len(latencies) / SECONDS),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_door(), indent=2) + "\n")
