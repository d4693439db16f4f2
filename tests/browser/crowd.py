"""Real people's film ratings, sent through the door as a platform would send them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx

from dataflows.codecs import encode
from dataflows.demo.world import World
from models.messages import Event

BATCH = 500


def settle(client: httpx.Client, world: World, n_history: int) -> None:
    """Write the catalog, and what others rated before, which ends now."""
    for start in range(0, len(world.items), BATCH):
        items = [encode(item) for item in world.items[start : start + BATCH]]
        client.put("/items", content=_list(items)).raise_for_status()
    history = world.history[-n_history:]
    shift = int(time.time() * 1_000) - history[-1].timestamp - 1_000
    for start in range(0, len(history), BATCH):
        _send(client, [replace(event, timestamp=event.timestamp + shift) for event in history[start : start + BATCH]])


@contextmanager
def acting(client: httpx.Client, world: World, rate: float) -> Iterator[None]:
    """Let people rate films at so many a second, until the context ends or all have."""
    ended = threading.Event()

    def act() -> None:
        for event in world.stream:
            if ended.wait(1 / rate):
                return
            _send(client, [replace(event, timestamp=int(time.time() * 1_000))])

    thread = threading.Thread(target=act, name="crowd")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _send(client: httpx.Client, events: list[Event]) -> None:
    client.post("/events", content=_list([encode(event) for event in events])).raise_for_status()


def _list(messages: list[bytes]) -> bytes:
    return b"[" + b",".join(messages) + b"]"
