"""Records of `catalog` and `model-updates` as an item table takes them, wherever they come from."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from dataflows.codecs import KeyedDecoder
from dataflows.plausible import Latest
from dataflows.records import Record
from models.items import ItemTable
from models.items.row_keys import RowError
from models.messages import DeadLetter, Item
from models.online.registry import Served, VersionRegistry
from models.online.versions import PREFIX
from models.rankers.checkpoint import CheckpointError

NewVersion: TypeAlias = tuple[str, Served | None]
"""A ranker's name, or `sequence`, and the version that serves from now on; None: nobody's does."""

log = logging.getLogger(__name__)


def apply_rows(table: ItemTable, records: Sequence[Record], latest: Latest) -> None:
    """Apply records of `model-updates`.

    Raises
    ------
    ValueError : one is malformed, or of a time that is still to come. Then none is applied.
    """
    table.apply_rows([record.key or b"" for record in records], [record.value for record in records], latest())


def apply_rows_that_are_sound(
    table: ItemTable, records: Sequence[Record], latest: Latest, counts: Counter[str]
) -> None:
    """Apply records of `model-updates`; one that is malformed is counted, logged, and left out."""
    try:
        apply_rows(table, records, latest)
    except RowError as error:
        if len(records) > 1:
            for record in records:
                apply_rows_that_are_sound(table, [record], latest, counts)
            return
        counts["malformed_row"] += 1
        # Not by its key, which may hold what a user sent.
        where = f"partition {records[0].partition}, offset {records[0].offset}"
        log.warning("a row of model-updates is left out, %s: %s", where, error.reason)


class CatalogRows:
    """Applies entries of the catalog to a table.

    Parameters
    ----------
    decode : bad entries are only counted here, `learn` writes their dead letters.
    """

    def __init__(self, table: ItemTable, decode: KeyedDecoder[Item], counts: Counter[str]) -> None:
        self._table = table
        self._decode = decode
        self._counts = counts

    def apply(self, records: Sequence[Record]) -> None:
        """Apply records in their order: of an item that is there twice, the later one."""
        latest: dict[str, Item | None] = {}
        for entry in self._decode(list(records)):
            if isinstance(entry, DeadLetter):
                self._counts[entry.reason] += 1
            else:
                latest[entry[0]] = entry[1]
        refused = self._table.apply_items(
            [item for item in latest.values() if item is not None],
            [item_id for item_id, item in latest.items() if item is None],
        )
        if refused:
            self._counts["hash_collision"] += refused


class RankerRows:
    """Takes the rows of rankers out of `model-updates`, and puts versions together as their rows come.

    Parameters
    ----------
    counts : malformed rows and versions that cannot be used are added to; those before them serve on.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self.registry = VersionRegistry()
        """What is known of the versions so far."""
        self._counts = counts

    def take(self, records: list[Record]) -> tuple[list[Record], list[NewVersion]]:
        """Split rows of item tables from those of rankers; return the former, and what the latter change."""
        rest = []
        for record in records:
            key = record.key or b""
            if not key.startswith(PREFIX):
                rest.append(record)
                continue
            try:
                self.registry.take(key, record.value)
            except ValueError as error:
                self._count("malformed_row", error)
        return rest, self._changes() if len(rest) < len(records) else []

    def _changes(self) -> list[NewVersion]:
        changes: list[NewVersion] = []
        while True:
            try:
                changes.extend(self.registry.changes())
            except CheckpointError as error:
                self._count("unusable_ranker", error)
            else:
                return changes

    def _count(self, reason: str, error: Exception) -> None:
        self._counts[reason] += 1
        log.warning("of model-updates is left out: %.300r", str(error))
