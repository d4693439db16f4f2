"""The item table as a flow over file topics has it: loaded once, from what `learn` wrote and from the catalog."""

from collections import Counter
from collections.abc import Iterator

from dataflows.files.topics import FileSource, FileTopicError
from dataflows.following.catalog_rows import CatalogDecoder, CatalogRows
from dataflows.following.ranker_rows import NewRanker, RankerRows
from dataflows.records import Record
from models.items import ItemTable


class FileTables:
    """A table that is complete after `load` and stays as it is.

    Parameters
    ----------
    rows, catalog : the topics `model-updates` and `catalog`.
    decode_catalog : bad entries are only counted here, `learn` writes their dead letters.
    """

    def __init__(
        self,
        rows: FileSource,
        catalog: FileSource,
        decode_catalog: CatalogDecoder,
        table: ItemTable,
        counts: Counter[str],
    ) -> None:
        self.table = table
        self.version = "0"
        """How many rows of `model-updates` there were."""
        self._rows = rows
        self._catalog = catalog
        self._entries = CatalogRows(table, decode_catalog, counts)
        self._counts = counts
        self._rankers: list[NewRanker] = []

    def load(self) -> int:
        """Apply both topics; returns how many records that were.

        Raises
        ------
        FileTopicError : a row of `model-updates` is malformed; the text names its key.
        """
        n_entries = n_rows = 0
        versions = RankerRows(self._counts)
        for records in read_whole(self._catalog):
            n_entries += len(records)
            self._entries.apply(records)
        for records in read_whole(self._rows):
            n_rows += len(records)
            rest, rankers = versions.take(records)
            self._rankers += rankers
            try:
                self.table.apply_rows([record.key or b"" for record in rest], [record.value for record in rest])
            except ValueError as error:
                raise FileTopicError(f"{self._rows.folder / self._rows.topic}: {error}") from error
        self.version = str(n_rows)
        return n_entries + n_rows

    def refresh(self) -> None:
        """Nothing arrives."""

    def take_rankers(self) -> list[NewRanker]:
        """Return the rankers that were loaded, once."""
        taken, self._rankers = self._rankers, []
        return taken

    def close(self) -> None:
        """Nothing is open."""


def read_whole(source: FileSource) -> Iterator[list[Record]]:
    """Read a topic to its end, batch by batch."""
    for name in source.list_parts():
        part = source.build_part("read", name, None)
        try:
            while True:
                yield part.next_batch()
        except StopIteration:
            continue
        finally:
            part.close()
