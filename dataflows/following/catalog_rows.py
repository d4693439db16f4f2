"""Records of the catalog as the item table takes them, wherever they come from."""

from collections import Counter
from collections.abc import Callable, Sequence

from dataflows.records import Record
from models.items import ItemTable
from models.messages import DeadLetter, Item

CatalogDecoder = Callable[[list[Record]], list[tuple[str, Item | None] | DeadLetter]]


class CatalogRows:
    """Applies entries of the catalog to a table.

    Parameters
    ----------
    decode : bad entries are only counted here, `learn` writes their dead letters.
    """

    def __init__(self, table: ItemTable, decode: CatalogDecoder, counts: Counter[str]) -> None:
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
        self._table.apply_items(
            [item for item in latest.values() if item is not None],
            [item_id for item_id, item in latest.items() if item is None],
        )
