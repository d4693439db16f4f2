"""What a platform sends while flows are killed: events whose slates can be told one by one, some of them unreadable."""

import random
import threading
import time
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
    n_bad: int = 0
    """Messages that cannot be read."""


class EventWriter(threading.Thread):
    """Writes events at a steady rate to the topics of one installation or more, the same to each.

    Parameters
    ----------
    prefixes : of the topics' names; the bad messages go to the first alone.
    rate : events a second.
    n : events in all, spread over the time.
    """

    def __init__(self, client: Client, prefixes: list[str], rate: float, seed: int) -> None:
        super().__init__(name="traffic", daemon=True)
        self._writers = [KafkaWriter(client, f"{prefix}events") for prefix in prefixes]
        self._rate = rate
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
                self._ending.wait(0.02)
            for writer in self._writers:
                writer.flush()
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
        value = orjson.dumps(event)
        for writer in self._writers:
            writer.write(user, value)
        self.sent.events[name] = user
        if number % BAD_EVERY == 0:
            self._writers[0].write(user, b'{"event_id":"bad-%d",' % number)
            self.sent.n_bad += 1
