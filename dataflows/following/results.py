"""The topic `experiment-results` as `recommend` follows it: for the shares by which new users are assigned."""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec
from confluent_kafka import KafkaException

from dataflows.kafka.reader import KafkaReader
from dataflows.kafka.scan import scan
from dataflows.records import Record
from models.experiments.assign.traffic import Traffic
from models.messages import ExperimentResult

Option = str | int | float | bool

log = logging.getLogger(__name__)


def take_results(records: Iterable[Record], traffic: Traffic, counts: Counter[str]) -> None:
    """Take in results; what does not decode or is not permitted is counted, told, and left out."""
    for record in records:
        if record.value is None:
            continue
        try:
            result = msgspec.json.decode(record.value, type=ExperimentResult)
        except msgspec.MsgspecError as error:
            counts["malformed_result"] += 1
            log.warning("a result is left out: %s", error)
            continue
        if refused := traffic.take(result):
            counts["refused_shares"] += refused
            log.warning("%s: %d shares are not within what is declared and are left out", result.experiment, refused)


@contextmanager
def followed(client: dict[str, Option], topic: str, traffic: Traffic, counts: Counter[str]) -> Iterator[None]:
    """Take in all results that there are, then follow the topic on a thread of its own until the context ends.

    Should the topic become unreadable, the shares stay as they are: slates matter more. It is counted and told.

    Raises
    ------
    EddyError : the topic cannot be read at first.
    """
    take_results(scan(client, topic), traffic, counts)
    reader, ended = KafkaReader(client, [topic]), threading.Event()

    def follow() -> None:
        try:
            while not ended.is_set():
                take_results((record for _, record in reader.poll(0.2)), traffic, counts)
        except KafkaException as failure:
            counts["results_not_followed"] += 1
            log.error("%s cannot be followed, shares stay as they are: %s", topic, failure.args[0].str())  # noqa: TRY400
        finally:
            reader.close()

    thread = threading.Thread(target=follow, name="results", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)
