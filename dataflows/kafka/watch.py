"""Topics that change under a running flow: deleted, made again, or grown. Only a start lists partitions."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from dataflows.errors import EddyError
from dataflows.kafka.admin import Admin, Client

EVERY_S = 10.0
ANSWER_S = 5.0
GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)  # noqa: SLF001


class ChangedTopicError(EddyError):
    """A topic is not the one any more that the flow has opened."""


class Shape(NamedTuple):
    """What tells whether a topic is still the same."""

    topic_id: str
    """Empty where the broker does not say."""
    partitions: int


class TopicWatch(threading.Thread):
    """Looks at the topics of a flow now and then; a client of a topic that is gone would wait for ever, in silence.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    on_change : given what has changed, on this thread.
    only_growth : tell of topics that have grown alone, where whoever reads them bears that one is made again.
    """

    def __init__(
        self,
        client: Client,
        on_change: Callable[[EddyError], object],
        every_s: float = EVERY_S,
        *,
        only_growth: bool = False,
    ) -> None:
        super().__init__(name="topics", daemon=True)
        self._admin = Admin(client)
        self._on_change = on_change
        self._every_s = every_s
        self._only_growth = only_growth
        self._opened: dict[str, Shape] = {}
        self._missed: set[str] = set()
        self._closing = threading.Event()

    def add(self, topic: str) -> None:
        """Remember a topic as it is now."""
        if isinstance(found := self._look([topic]).get(topic), Shape):
            self._opened[topic] = found

    def run(self) -> None:
        """Look until something has changed or the flow ends."""
        while not self._closing.wait(self._every_s):
            changes = self.changes()
            if changes:
                self._on_change(ChangedTopicError("; ".join(changes)))
                return

    def changes(self) -> list[str]:
        """Say what has changed since the topics were opened, and what to do."""
        found = self._look(list(self._opened))
        if self._only_growth:
            made_again = {t: now for t, now in found.items() if now and now.topic_id != self._opened[t].topic_id}
            self._opened |= made_again
            found = {topic: shape for topic, shape in found.items() if shape is not None}
        missed = {topic for topic, shape in found.items() if shape is None}
        # Asked once more before a topic is called gone: a broker that has just started may not know all of them yet.
        gone, self._missed = missed & self._missed, missed
        return [
            text
            for topic, before in self._opened.items()
            if (text := _change(topic, before, found.get(topic, before), is_gone=topic in gone))
        ]

    def _look(self, topics: list[str]) -> dict[str, Shape | None]:
        """Describe topics, None for one that is not there; without those of which the cluster says nothing now."""
        found: dict[str, Shape | None] = {}
        try:
            asked = self._admin.client.describe_topics(TopicCollection(topics), request_timeout=ANSWER_S)
        except KafkaException:
            return found
        for topic, future in asked.items():
            try:
                said = future.result()
                found[topic] = Shape(str(said.topic_id or ""), len(said.partitions))
            except KafkaException as failure:
                if failure.args[0].code() in GONE:
                    found[topic] = None
        return found

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()


@contextmanager
def watching_topics(
    client: Client, topics: Iterable[str], on_change: Callable[[EddyError], object], every_s: float = EVERY_S
) -> Iterator[None]:
    """Look at topics meanwhile; parameters as of `TopicWatch`."""
    watch = TopicWatch(client, on_change, every_s)
    for topic in topics:
        watch.add(topic)
    watch.start()
    try:
        yield
    finally:
        watch.close()


def _change(topic: str, before: Shape, now: Shape | None, *, is_gone: bool) -> str | None:
    if is_gone:
        return f"{topic} was deleted while the flow ran: make it with `eddy topics create`, then start the flow again"
    if now is None:
        return None
    if now.topic_id != before.topic_id:
        return (
            f"{topic} was deleted and made again while the flow ran: start the flow again. If it read the topic, it "
            "then says what it has to go on without"
        )
    if now.partitions != before.partitions:
        return (
            f"{topic} has grown from {before.partitions} to {now.partitions} partitions: start the flow again, all "
            "processes of it, since only a start opens the new ones. Nothing is lost"
        )
    return None
