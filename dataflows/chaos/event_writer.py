"""What a platform sends to flows that are killed or flooded: events that can be told one by one, some unreadable."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from dataflows.kafka.admin import Client
from dataflows.kafka.writer import KafkaWriter

BAD_EVERY = 97
"""Of so many messages one cannot be read."""

Act = tuple[str, str]
"""A user and an item."""


@dataclass(slots=True)
class Written:
    """What was written so far."""

    events: dict[str, str] = field(default_factory=dict)
    """User of each event, in the order in which they were written."""
    bad: list[str] = field(default_factory=list)
    """Messages that cannot be read, as they were written."""


class EventWriter(threading.Thread):
    """Writes events until there are enough, or it is told to end.

    Parameters
    ----------
    topic : where to.
    act : gives the next event's user and item.
    rate : events a second; infinity: as fast as the broker takes them.
    seed : the same one draws the same types of events.
    on_sent : called now and then with how many were written.
    sent : what was written already; it is added to.
    """

    def __init__(
        self,
        client: Client,
        topic: str,
        act: Callable[[], Act],
        rate: float,
        seed: int,
        on_sent: Callable[[int], object] = lambda _n: None,
        sent: Written | None = None,
    ) -> None:
        super().__init__(name="event-writer", daemon=True)
        self._writer = KafkaWriter(client, topic)
        self._act = act
        self._rate = rate
        self._on_sent = on_sent
        self._rng = random.Random(seed)  # noqa: S311 - no secret is made of it
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._n_due: float = float("inf")
        self.sent = Written() if sent is None else sent

    def write(self, n: float) -> Written:
        """Write so many events here and now; return what was sent, all of it delivered."""
        self._n_due = len(self.sent.events) + n
        self.run()
        return self.end()

    def run(self) -> None:
        """Write until told to end."""
        started, n_before = time.monotonic(), len(self.sent.events)
        try:
            while not self._ending.is_set() and len(self.sent.events) < self._n_due:
                due = min(self._n_due, n_before + (time.monotonic() - started) * self._rate)
                for _ in range(1_000):
                    if len(self.sent.events) + 1 > due:
                        self._ending.wait(0.02)
                        break
                    self._write()
                self._on_sent(len(self.sent.events))
            self._writer.flush()
        except Exception as failure:  # noqa: BLE001 - raised by `end`, in the thread that waits for it
            self._failure = failure

    def end(self) -> Written:
        """Stop writing; return what was sent, all of it delivered."""
        self._ending.set()
        if self.is_alive():
            self.join()
        if self._failure is not None:
            raise self._failure
        return self.sent

    def _write(self) -> None:
        number = len(self.sent.events)
        name, (user, item) = f"e-{number}", self._act()
        event = {
            "event_id": name,
            "user_id": user,
            "item_id": item,
            "event_type": "click" if self._rng.random() < 0.9 else "purchase",
            "timestamp": int(time.time() * 1_000),
        }
        self._writer.write(user, orjson.dumps(event))
        self.sent.events[name] = user
        if number % BAD_EVERY == 0:
            bad = f'{{"event_id":"bad-{number}",'
            self._writer.write(user, bad.encode())
            self.sent.bad.append(bad)
