"""What the door knows for operators: the rankers' versions, and the receipts of erasures."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec

from dataflows.records import Record
from models.messages import ErasureReceipt
from models.online.registry import VersionRegistry
from models.online.versions import PREFIX, Version

MAX_ERASURES = 1_000
"""Erasures whose receipts are at hand, the newest; `eddy verify-erasure` reads all."""
MAX_PLACES = 64
"""Receipts of an erasure that are kept: flows have some ten places."""


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
                found = self._found.setdefault(receipt.erasure_id, {})
                if receipt.place in found or len(found) < MAX_PLACES:
                    found[receipt.place] = receipt
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
