"""The rows of `model-updates` that are rankers': taken out of what a table is given, and loaded."""

import logging
from collections import Counter
from typing import TypeAlias

from dataflows.records import Record
from models.online.registry import PREFIX, VersionRegistry
from models.rankers.checkpoint import Checkpoint, CheckpointError

NewRanker: TypeAlias = tuple[str, Checkpoint | None]
"""A ranker's name and the version that serves from now on; None: the blend does."""

log = logging.getLogger(__name__)


class RankerRows:
    """Puts versions together as their rows come.

    Parameters
    ----------
    counts : malformed rows and versions that cannot be used are added to; those before them serve on.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._registry = VersionRegistry()
        self._counts = counts

    def take(self, records: list[Record]) -> tuple[list[Record], list[NewRanker]]:
        """Split rows of item tables from those of rankers; return the former, and what the latter change."""
        rest = []
        for record in records:
            key = record.key or b""
            if not key.startswith(PREFIX):
                rest.append(record)
                continue
            try:
                self._registry.take(key, record.value)
            except ValueError as error:
                self._count("malformed_row", error)
        return rest, self._changes() if len(rest) < len(records) else []

    def _changes(self) -> list[NewRanker]:
        changes: list[NewRanker] = []
        while True:
            try:
                changes.extend(self._registry.changes())
            except CheckpointError as error:
                self._count("unusable_ranker", error)
            else:
                return changes

    def _count(self, reason: str, error: Exception) -> None:
        self._counts[reason] += 1
        log.warning("of model-updates is left out: %s", error)
