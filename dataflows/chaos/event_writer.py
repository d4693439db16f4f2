"""What a platform sends while flows are killed: events whose slates can be told one by one, some of them unreadable."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from dataflows.kafka.admin import Client
from dataflows.kafka.writer import KafkaWriter

N_USERS = 200
N_ITEMS = 40
"""Fewer than an item has neighbours, so that no count is ever given up and two histories of tables are equal."""
BAD_EVERY = 97
"""Of so many messages one cannot be read."""


@dataclass(slots=True)
class Written:
    """What was written so far."""

    events: dict[str, str] = field(default_factory=dict)
    """User of each event, in the order in which they were written."""
    bad: list[str] = field(default_factory=list)
    """Messages that cannot be read, as they were written."""


class EventWriter(threading.Thread):
    """Writes events at a steady rate until it is told to end.

    Parameters
    ----------
    topic : where to.
    rate : events a second.
    seed : the same one draws the same users, items and types.
    on_sent : called now and then with how many were written.
    """

    def __init__(
        self, client: Client, topic: str, rate: float, seed: int, on_sent: Callable[[int], object] = lambda _n: None
    ) -> None:
        super().__init__(name="event-writer", daemon=True)
        self._writer = KafkaWriter(client, topic)
        self._rate = rate
        self._on_sent = on_sent
        self._rng = random.Random(seed)  # noqa: S311 - no secret is made of it
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self.sent = Written()

    def run(self) -> None:
        """Write until told to end."""
        started = time.monotonic()
        try:
            while not self._ending.is_set():
                due = int((time.monotonic() - started) * self._rate)
                while len(self.sent.events) < due:
                    self._write()
                self._on_sent(due)
                self._ending.wait(0.02)
            self._writer.flush()
        except Exception as failure:  # noqa: BLE001 - raised by `end`, in the thread that waits for it
            self._failure = failure

    def end(self) -> Written:
        """Stop writing; return what was sent, all of it delivered."""
        self._ending.set()
        self.join()
        if self._failure is not None:
            raise self._failure
        return self.sent

    def _write(self) -> None:
        number = len(self.sent.events)
        name, user = f"e-{number}", f"u-{self._rng.randrange(N_USERS)}"
        event = {
            "event_id": name,
            "user_id": user,
            "item_id": f"i-{self._rng.randrange(N_ITEMS)}",
            "event_type": "click" if self._rng.random() < 0.9 else "purchase",
            "timestamp": int(time.time() * 1_000),
        }
        self._writer.write(user, orjson.dumps(event))
        self.sent.events[name] = user
        if number % BAD_EVERY == 0:
            bad = f'{{"event_id":"bad-{number}",'
            self._writer.write(user, bad.encode())
            self.sent.bad.append(bad)
