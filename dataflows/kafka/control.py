"""What the processes of a cluster tell each other: that one stops, since none drains alone; and how they are set."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from confluent_kafka import Producer

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client
from dataflows.kafka.reader import Batch, Follower, KafkaReader

log = logging.getLogger(__name__)


class DifferentSettingsError(EddyError):
    """Another process of the cluster is set otherwise."""


class Cluster:
    """Joins the processes of one flow by the `control` topic.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topic : the control topic, of one partition.
    flow : what other flows say is not for us.
    group : under which the cluster knows the reader.
    place : which process this is: the addresses of all, and its number.
    prints : of each setting that all processes have to share, a hash; the values stay here, since some are secrets.
    on_stop : called from a thread of its own when a process of the flow stops.
    on_failure : called where another process is set otherwise, or given what ended that thread.
    """

    def __init__(
        self,
        client: Client,
        topic: str,
        flow: str,
        group: str,
        place: tuple[str, int],
        prints: Mapping[str, str],
        on_stop: Callable[[], None],
        on_failure: Callable[[EddyError], None],
    ) -> None:
        self._client = client
        self._topic = topic
        self._flow = flow
        self._place = place
        self._prints = dict(prints)
        self._on_stop = on_stop
        self._on_failure = on_failure
        self._run = uuid.uuid4().hex
        self._known: set[str] = {self._run}
        reader = KafkaReader(client, [topic], group, start="latest")
        self._follower = Follower(reader, self._take, "control", on_failure)
        self._say_how_it_is_set()

    def announce(self) -> None:
        """Tell the other processes to stop as well."""
        self._tell({"stop": self._flow, "at": int(time.time() * 1_000)})

    def close(self) -> None:
        """Stop listening."""
        self._follower.close()

    def _say_how_it_is_set(self) -> None:
        addresses, number = self._place
        self._tell({"run": self._run, "addresses": addresses, "process": number, "settings": self._prints})

    def _tell(self, message: dict[str, Any]) -> None:
        producer = Producer(dict(self._client))
        producer.produce(self._topic, orjson.dumps(message), self._flow)
        producer.flush(10)

    def _take(self, batches: list[Batch]) -> None:
        for record in (record for batch in batches for record in batch.records):
            if record.key == self._flow.encode():
                self._hear(record.value or b"")

    def _hear(self, value: bytes) -> None:
        try:
            said = orjson.loads(value)
            run, addresses, number, prints = (said.get(name) for name in ("run", "addresses", "process", "settings"))
        except (ValueError, AttributeError):
            log.warning("a message on %s is no JSON object and is left out", self._topic)
            return
        if run is None:
            self._on_stop()
        elif addresses == self._place[0] and run not in self._known:
            self._known.add(run)
            self._compare(number, prints)
            self._say_how_it_is_set()  # for one that was not there yet when we said it first

    def _compare(self, number: int, prints: dict[str, str]) -> None:
        names = self._prints.keys() | prints.keys()
        if differ := sorted(name for name in names if self._prints.get(name) != prints.get(name)):
            self._on_failure(
                DifferentSettingsError(
                    f"process {number} of this cluster is set otherwise than process {self._place[1]}: "
                    f"{', '.join(differ)}. Give all processes the same settings, and start them again"
                )
            )
