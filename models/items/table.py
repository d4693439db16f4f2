"""The replicated item table: what changes it are rows of `model-updates` and entries of `catalog`."""

import numpy as np

from models.items.catalog import Entries
from models.items.columns import Columns
from models.items.packed import PackedRows, Scales, rescale
from models.items.texts import HASHED, TextSpace
from models.items.updates import SessionUpdates, TrendingUpdate, Updates
from models.items.view import ItemView
from models.messages import Item
from models.numeric.arrays import Int32s, Int64s
from models.numeric.decay import MAX_HALF_LIVES
from models.numeric.ids import hash_all

DAY_MS = 86_400_000


class ItemTable(ItemView):
    """Everything that a process knows of the items. Nobody reads it while something is applied.

    Parameters
    ----------
    landmark_at : the moment that stored weights refer to, Unix ms: about now.
    capacity : rows to begin with; a table that is told its size never copies itself.
    n_neighbours : K, neighbours kept of an item.
    half_life_short_ms, half_life_long_ms : of the published popularities, as `learn` uses them.
    texts : the space of the published content vectors, as `learn` uses it.
    """

    def __init__(
        self,
        landmark_at: int,
        *,
        capacity: int = 1 << 14,
        n_neighbours: int = 50,
        half_life_short_ms: int = DAY_MS,
        half_life_long_ms: int = 14 * DAY_MS,
        texts: TextSpace = HASHED,
    ) -> None:
        super().__init__(Columns(capacity, n_neighbours), landmark_at, half_life_short_ms, half_life_long_ms)
        self.texts = texts
        self._newest_at = 0

    def apply_rows(self, keys: list[bytes], values: list[bytes | None]) -> int:
        """Apply rows of `model-updates`; an older or repeated version changes nothing.

        Parameters
        ----------
        keys : `neighbours/<item_id>`, `content/<item_id>`, `trending/<segment>/<shard>` or `sessions/<number>`.
        values : packed rows (`models.items.rows`); None empties the row, after which any version is taken.

        Returns
        -------
        How many rows changed the table.

        Raises
        ------
        ValueError : a row is malformed; the text names its key. Then none is applied.
        """
        updates = Updates.read(keys, values, self.neighbours.shape[1])
        self._changing()
        applied = self._apply_packed(updates.packed)
        applied += sum(self._apply_trending(update) for update in updates.trends)
        applied += self._apply_sessions(updates.sessions)
        self._postings.refill()
        self.n_applied += applied
        return applied

    def _apply_packed(self, packed: PackedRows) -> int:
        columns = self.columns
        columns.ensure(packed.hashes[~packed.empties])
        mentioned = columns.ensure(packed.mentioned)
        self._lengthen()
        rows = columns.rows_of(packed.hashes)
        self._name(rows, packed)
        self._follow(packed.newest_at)
        applied = packed.write(
            columns, rows, mentioned, Scales(self.landmark_at, self.half_life_short_ms, self.half_life_long_ms)
        )
        undated = applied.learned[columns.created_at[applied.learned] == 0]
        columns.created_at[undated] = columns.first_seen_at[undated]
        self._postings.lower(applied.fallen)
        self._postings.offer(applied.learned)
        self.learned_until = max(self.learned_until, applied.learned_until)
        return applied.n

    def _apply_trending(self, update: TrendingUpdate) -> bool:
        segment, number, shard, learned_until = update
        if shard is None:
            return self._trends.drop(segment, number)
        if not self._trends.put(segment, number, shard):
            return False
        # Now, and not when they are asked for: scoring holds arrays of the table, which must not grow meanwhile.
        self.columns.ensure(shard.items)
        self._lengthen()
        self.learned_until = max(self.learned_until, learned_until)
        return True

    def _apply_sessions(self, updates: SessionUpdates) -> int:
        rows = self.columns.ensure(updates.items)
        self._lengthen()
        newest_at = int(updates.last_at.max(initial=0))
        self.learned_until = max(self.learned_until, newest_at)
        return self.sessions.put(
            updates.numbers, updates.versions, updates.users, updates.last_at, updates.starts, rows
        )

    def _follow(self, newest_at: int) -> None:
        """Move the landmark to the newest weights where it is so far from them that single precision would end.

        Weights that are older still by as much have decayed to nothing, and become that.
        """
        self._newest_at = max(self._newest_at, newest_at)
        ahead = self._newest_at - self.landmark_at
        if not self._newest_at or abs(ahead) <= MAX_HALF_LIVES * self.half_life_short_ms:
            return
        # Where the landmark lies ahead, a past is replayed and nothing is stored yet, since no weights were newer.
        if ahead > 0:
            short, long = 2.0 ** (-ahead / self.half_life_short_ms), 2.0 ** (-ahead / self.half_life_long_ms)
            rescale(self.columns, short, long)
            self._postings.reorder()
        self.landmark_at = self._newest_at

    def apply_items(self, items: list[Item], removed: list[str]) -> None:
        """Apply entries of the catalog, then removals: a removed item stays known but is no longer available."""
        self._changing()
        self._apply_entries(Entries.of(items, self._names))
        self._remove(np.unique(hash_all(removed)))
        self._postings.refill()

    def _apply_entries(self, entries: Entries) -> None:
        columns = self.columns
        rows = columns.ensure(entries.hashes)
        self._lengthen()
        ids, titles = self.ids, self.titles
        for row, item in zip(rows.tolist(), entries.items, strict=True):
            ids[row], titles[row] = item.item_id, item.title
            self.eligibility.put(row, item.requires, item.excludes)
        columns.named[rows] = columns.in_catalog[rows] = True
        columns.available[rows] = entries.available
        columns.price[rows] = entries.price
        columns.category[rows] = entries.category
        columns.attributes[rows] = entries.attributes
        self._forget_facts(entries.hashes)
        created_at = np.where(entries.created_at, entries.created_at, columns.first_seen_at[rows])
        numbers = np.where(entries.available[:, None], self._postings.number(entries.attributes), -1)
        moved = (numbers != columns.posted[rows]).any(axis=1) | (created_at != columns.created_at[rows])
        self._postings.withdraw(rows[moved])
        columns.created_at[rows] = created_at
        self._postings.post(rows[moved], numbers[moved])
        self.has_catalog |= bool(len(rows))

    def _remove(self, hashes: Int64s) -> None:
        """Remove items; those unknown so far too, since their own rows may come later."""
        columns = self.columns
        rows = columns.ensure(hashes)
        self._lengthen()
        columns.available[rows] = columns.in_catalog[rows] = False
        columns.attributes[rows] = 0
        for row in rows.tolist():
            self.eligibility.put(row, (), ())
        self._forget_facts(hashes)
        self._postings.withdraw(rows)

    def _forget_facts(self, hashes: Int64s) -> None:
        for item in hashes.tolist():
            self._facts.pop(item, None)

    def _lengthen(self) -> None:
        missing = self.n - len(self.ids)
        self.ids.extend([""] * missing)
        self.titles.extend([""] * missing)

    def _name(self, rows: Int32s, packed: PackedRows) -> None:
        """Name items by the keys of their rows; a tombstone is no sign of life."""
        new = rows[~packed.empties]
        named = self.columns.named
        for p in np.flatnonzero(~packed.empties & ~named[rows]).tolist():
            self.ids[rows[p]] = packed.item_ids[p]
        named[new] = True
