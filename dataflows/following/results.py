"""The topic `experiment-results` as `recommend` follows it: for the shares by which new users are assigned."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client
from dataflows.kafka.reader import Batch, Follower, KafkaReader
from dataflows.plausible import Latest
from dataflows.records import Record
from models.experiments.assign.traffic import Traffic
from models.messages import ExperimentResult

log = logging.getLogger(__name__)


def take_results(records: Iterable[Record], traffic: Traffic, counts: Counter[str], latest: Latest) -> None:
    """Take in results; what does not decode or is not permitted is counted, logged, and left out.

    Parameters
    ----------
    latest : no result may be of a later time: it would be the newest for ever.
    """
    for record in records:
        if record.value is None:
            continue
        try:
            result = msgspec.json.decode(record.value, type=ExperimentResult)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            counts["malformed_result"] += 1
            log.warning("a result is left out: %s", error)
            continue
        if not latest.allows(result.updated_at):
            counts["malformed_result"] += 1
            log.warning("a result of %.100r is left out: its time is ahead of the clock", result.experiment)
        elif refused := traffic.take(result):
            counts["refused_shares"] += refused
            log.warning(
                "%.100r: %d shares are not within what is declared and are left out", result.experiment, refused
            )


@contextmanager
def followed(
    client: Client,
    topic: str,
    group: str,
    traffic: Traffic,
    counts: Counter[str],
    latest: Latest,
    on_failure: Callable[[EddyError], None],
) -> Iterator[None]:
    """Take in all results that there are, then follow the topic on a thread of its own until the context ends.

    Parameters
    ----------
    on_failure : given what ended that thread, on it: with shares that stand still, processes would assign differently.

    Raises
    ------
    EddyError : the topic cannot be read at first.
    """

    def take(batches: list[Batch]) -> None:
        for batch in batches:
            take_results(batch.records, traffic, counts, latest)

    follower = Follower(KafkaReader(client, [topic], group), take, "results", on_failure)
    try:
        follower.wait_until_complete()
        yield
    finally:
        follower.close()
