"""What the door knows for operators: rankers' versions, receipts of erasures, and how far the flows are behind."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import ExitStack, closing
from typing import Any

import msgspec
from confluent_kafka import KafkaException

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client
from dataflows.kafka.lag import GroupLag
from dataflows.kafka.rights import source_group
from dataflows.records import Record
from models.messages import ErasureReceipt
from models.online.registry import PREFIX, Version, VersionRegistry

log = logging.getLogger(__name__)

MAX_ERASURES = 1_000
"""Erasures whose receipts are at hand, the newest; `eddy verify-erasure` reads all."""
LOOK_EVERY_S = 2.0
LOOK_TIMEOUT_S = 5.0


class Receipts:
    """The receipts of the newest erasures; one thread writes, another reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, dict[str, ErasureReceipt]] = OrderedDict()
        self._decode = msgspec.json.Decoder(ErasureReceipt).decode

    def take(self, records: Iterable[Record]) -> None:
        """Keep what records say; what is no receipt is left out."""
        for record in records:
            try:
                receipt = self._decode(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            with self._lock:
                self._found.setdefault(receipt.erasure_id, {})[receipt.place] = receipt
                while len(self._found) > MAX_ERASURES:
                    self._found.popitem(last=False)

    def of(self, erasure_id: str) -> dict[str, ErasureReceipt]:
        """Return an erasure's receipts so far, by place."""
        with self._lock:
            return dict(self._found.get(erasure_id, {}))


class Rankers:
    """The rankers' versions without their weights; one thread writes, another reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registry = VersionRegistry()

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take a row of `model-updates`, where it is one of a ranker and no part of its weights.

        Raises
        ------
        ValueError : it is malformed.
        """
        if key.startswith(PREFIX) and key.count(b"/") < 3:
            with self._lock:
                self._registry.take(key, value)

    def known(self, name: str) -> bool:
        """Say whether a ranker has versions."""
        with self._lock:
            return name in self._registry.names

    def before(self, name: str) -> Version | None:
        """Return the version of a ranker before the one that serves, where it is still kept."""
        with self._lock:
            return self._registry.before(name) if name in self._registry.names else None

    def read(self) -> list[dict[str, Any]]:
        """Return what the page draws: each ranker with its versions, the newest decision first."""
        with self._lock:
            return [
                {
                    "ranker": name,
                    "serving": self._registry.serving(name).version,
                    "pinned": self._registry.pinned(name) is not None,
                    "versions": [
                        {
                            "version": version.version,
                            "decision": version.decision,
                            "learned_until": version.learned_until,
                            "slates": version.evidence.get("n_slates"),
                            "gain": version.evidence.get("gain"),
                            "before": version.evidence.get("replaced"),
                        }
                        for version in self._registry.versions(name)
                    ],
                }
                for name in self._registry.names
            ]


class Lags:
    """How many events each flow has not committed yet, looked up again and again on a thread of its own.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    flows : whose groups are asked for.
    prefix : of the topics and of the groups.
    """

    def __init__(self, client: Client, flows: Iterable[str], prefix: str) -> None:
        self._client = client
        self._groups = {flow: source_group(flow, prefix) for flow in flows}
        self._topic = f"{prefix}events"
        self._closing = threading.Event()
        self.by_flow: dict[str, int | None] = dict.fromkeys(self._groups)
        """None where it is not known: no broker answered, or the door may not ask."""
        self._thread = threading.Thread(target=self._look, name="lag", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_TIMEOUT_S)

    def _look(self) -> None:
        try:
            with ExitStack() as stack:
                lags = {
                    flow: stack.enter_context(closing(GroupLag(self._client, group, [self._topic])))
                    for flow, group in self._groups.items()
                }
                while not self._closing.wait(LOOK_EVERY_S):
                    self.by_flow = {flow: _behind(lag) for flow, lag in lags.items()}
        except (EddyError, KafkaException) as error:
            log.warning("the flows' lag is not known: %s", error)


def _behind(lag: GroupLag) -> int | None:
    try:
        return sum(lag.by_partition(LOOK_TIMEOUT_S))
    except KafkaException:
        return None
