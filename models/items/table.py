"""The replicated item table: what changes it are rows of `model-updates` and entries of `catalog`.

Decayed weights are kept in landmark units (forward decay; Cormode, Shkapenyuk, Srivastava and Xu, 2009): a weight w as
of time t is stored as w * 2^((t - landmark) / half-life), so that weights of different times compare and nothing has to
be decayed again.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from models.items.catalog import Entries
from models.items.columns import Columns
from models.items.eligibility import Eligibility
from models.items.learned import Encoder, LearnedVectors, Run, at_once
from models.items.links import LinkRuns, mark_mentioned
from models.items.postings import Postings
from models.items.row_keys import END_OF_TIME, RowError
from models.items.sessions import SessionIndex, SessionRows
from models.items.trends import TrendingUpdate, Trends
from models.items.updates import ItemRows, Updates
from models.items.vectors import HASHED, TextSpace
from models.messages import Item
from models.numeric.arrays import Floats, Hash32s, Int32s, Int64s
from models.numeric.decay import MAX_HALF_LIVES, Landmark
from models.numeric.ids import hash64, hash_all

DAY_MS = 86_400_000
LEARNED_AT_ONCE = 4_096
"""Items of which a new sequence model's vectors are made between two batches."""
NO_ATTRIBUTES: Hash32s = np.empty(0, np.uint32)

LEAST_NAMES = 1_024
"""Of attributes, below which nobody looks for those that no item has."""

T = TypeVar("T")


class ItemTable(Columns):
    """Everything that a process knows of the items; row numbers never leave it.

    Nobody reads it while something is applied.

    Parameters
    ----------
    landmark_at : the moment that stored weights refer to, Unix ms: about now.
    capacity : rows to begin with; a table that is given its size never copies itself.
    n_neighbours : neighbours kept of an item at most, and habits.
    half_life_short_ms, half_life_long_ms : of the published popularities, as `learn` uses them.
    texts : the space of the published content vectors, as `learn` uses it.
    run : makes inverted files over learned vectors, where there are many: now, or on a thread of its own.
    """

    def __init__(
        self,
        landmark_at: int,
        *,
        capacity: int = 1 << 14,
        n_neighbours: int = 200,
        half_life_short_ms: int = DAY_MS,
        half_life_long_ms: int = 14 * DAY_MS,
        texts: TextSpace = HASHED,
        run: Run = at_once,
    ) -> None:
        super().__init__(capacity)
        self.n_neighbours = n_neighbours
        self.landmark_at = landmark_at
        """It moves when weights come from another time, so a reader takes it again for each batch."""
        self.half_life_short_ms = half_life_short_ms
        self.half_life_long_ms = half_life_long_ms
        self.texts = texts
        self.ids: list[str] = []
        """Of each row; empty until its own row or its catalog entry names it."""
        self.titles: list[str] = []
        self.learned_until = 0
        """Event time of the newest event that the applied rows had learned."""
        self.n_applied = 0
        """Rows that changed the table so far."""
        self.has_catalog = False
        """Whether a catalog entry was ever applied. From then on only items in the catalog are recommended: what it no
        longer holds was removed, even where nobody remembers the removal. Without a catalog, every named item is."""
        self.links = LinkRuns(self, "neighbour")
        """What came with each item in one session."""
        self.habits = LinkRuns(self, "habit")
        """What came in different sessions of a user."""
        self.sessions = SessionIndex(self)
        """The most recent sessions, by their items."""
        self.eligibility = Eligibility()
        """What the catalog's items require of a user, and what excludes one."""
        self.postings = Postings(self)
        """The available items by attribute."""
        self.learned: LearnedVectors | None = None
        """The items' vectors by a sequence model, where one serves."""
        self._coming: LearnedVectors | None = None
        self._run = run
        self._trends = Trends(half_life_short_ms)
        self._newest_at = 0
        self._look_at_n = self._next_look()
        self._names: dict[int, str] = {}
        self._look_at_names = LEAST_NAMES
        self._facts: dict[int, tuple[Hash32s, float]] = {}
        self._popular: dict[int, list[int]] = {}
        self._derived: dict[Hashable, Any] = {}

    def read_with(self, encoder: Encoder | None) -> None:
        """Take a sequence model's vectors for the items; None: nobody's."""
        self.learned = LearnedVectors(encoder, self._run) if encoder is not None else None
        self._coming = None
        self._forget_derived()

    def read_next_with(self, encoder: Encoder) -> None:
        """Make ready for another sequence model; the one before it serves until `learn_some` has made all vectors."""
        self._coming = LearnedVectors(encoder, self._run)

    def learn_some(self, most: int = LEARNED_AT_ONCE) -> None:
        """Make some of the vectors of the sequence model that is to come; it serves once it has all."""
        if self._coming is not None and self._coming.make_some(self, most):
            self.learned, self._coming = self._coming, None
            self._forget_derived()

    def trending(self, segment: int) -> tuple[Int32s, Floats]:
        """Return what trends in a segment: (T,) rows and weights, best first, T at most 500."""
        return self._trends.best(segment, self)

    def derived(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` makes of the table under this name: made once, until the table changes."""
        if name not in self._derived:
            self._derived[name] = make()
        made: T = self._derived[name]
        return made

    def popular_items(self, segment: int) -> list[int]:
        """Return the hashes of what trends in a segment, best first."""
        popular = self._popular.get(segment)
        if popular is None:
            popular = self._popular[segment] = self.hashes[self.trending(segment)[0]].tolist()
        return popular

    def attribute_name(self, attribute: int) -> str:
        """Return an attribute's value as a person would say it: `Drama`; empty for an unknown one."""
        return self._names.get(attribute, "").partition("=")[2]

    def facts(self, item: int) -> tuple[Hash32s, float]:
        """Return an item's (M,) attribute hashes, M at most 8, and its price (0 unknown); none for an unknown item."""
        facts = self._facts.get(item)
        if facts is None:
            row = self.row_of(item)
            if row < 0:
                return NO_ATTRIBUTES, 0.0
            attributes, price = self.attributes[row], float(self.price[row])
            facts = self._facts[item] = (attributes[attributes != 0], 0.0 if math.isnan(price) else price)
        return facts

    def ensure(self, hashes: Int64s) -> Int32s:
        """Look up (M,) item hashes, giving a row without a name to each that has none; returns (M,) rows."""
        rows = super().ensure(hashes)
        missing = self.n - len(self.ids)
        self.ids.extend([""] * missing)
        self.titles.extend([""] * missing)
        return rows

    def apply_rows(self, keys: list[bytes], values: list[bytes | None], latest_at: int = END_OF_TIME) -> int:
        """Apply rows of `model-updates`; an older or repeated version changes nothing.

        Parameters
        ----------
        keys : `neighbours/<item_id>`, `content/<item_id>`, `trending/<segment>/<shard>`, `sessions/<number>` or
            `graduated/<item_id>`.
        values : packed rows (`models.items.wire`); None empties the row, after which any version is taken.
        latest_at : no row may be of a later time, Unix ms: it would move the landmark, and honest weights to nothing.

        Returns
        -------
        How many rows changed the table.

        Raises
        ------
        RowError : a row is malformed, or of an item whose hash another one has. Then none is applied.
        """
        updates = Updates.read(keys, values, self.n_neighbours, latest_at)
        self._check_names(updates.items)
        self._forget_derived()
        self._release_unused()
        applied = self._apply_item_rows(updates.items)
        applied += sum(self._apply_trending(update) for update in updates.trends)
        applied += self._apply_sessions(updates.sessions)
        applied += self._apply_graduated(updates.graduated)
        self.postings.refill()
        self.n_applied += applied
        return applied

    def _apply_item_rows(self, items: ItemRows) -> int:
        self.ensure(items.hashes[~items.tombstones])
        mentioned = self.ensure(items.mentioned)
        rows = self.rows_of(items.hashes)
        self._name(rows, items)
        self._follow(items.newest_at)
        landmark = Landmark(self.landmark_at, self.half_life_short_ms, self.half_life_long_ms)
        self.links.reserve(items.n_neighbours, len(rows))
        self.habits.reserve(items.n_habits, len(rows))
        applied = items.write(self, self.links.arrays, self.habits.arrays, rows, mentioned, landmark)
        undated = applied.learned[self.created_at[applied.learned] == 0]
        self.created_at[undated] = self.first_seen_at[undated]
        self.postings.lower(applied.fallen)
        self.postings.offer(applied.learned)
        self._describe_again(applied.described)
        self.learned_until = max(self.learned_until, applied.learned_until)
        return applied.n

    def _check_names(self, items: ItemRows) -> None:
        """Refuse an item whose hash is another's: whoever chose it would write the other's row."""
        seen: dict[int, str] = {}
        rows = self.rows_of(items.hashes).tolist()
        for row, item, item_id in zip(rows, items.hashes.tolist(), items.item_ids, strict=True):
            known = (self.ids[row] if row >= 0 else "") or seen.setdefault(item, item_id)
            if known != item_id:
                raise RowError(item_id.encode(), "an item with the hash of another")

    def _apply_trending(self, update: TrendingUpdate) -> bool:
        segment, number, shard, learned_until = update
        if shard is None:
            return self._trends.drop(segment, number)
        if not self._trends.put(segment, number, shard):
            return False
        # Now, and not when they are asked for: scoring holds arrays of the table, which must not grow meanwhile.
        self.ensure(shard.items)
        self.learned_until = max(self.learned_until, learned_until)
        return True

    def _apply_sessions(self, rows: SessionRows) -> int:
        items = self.ensure(rows.items)
        self.learned_until = max(self.learned_until, int(rows.sessions.last_at.max(initial=0)))
        return self.sessions.put(rows.sessions, items)

    def _apply_graduated(self, graduated: dict[str, bool]) -> int:
        known = np.fromiter(graduated.values(), np.bool_, len(graduated))
        rows = self.ensure(hash_all(list(graduated)))
        n_changed = int((self.graduated[rows] != known).sum())
        self.graduated[rows] = known
        return n_changed

    def _name(self, rows: Int32s, items: ItemRows) -> None:
        """Name items by the keys of their rows; a tombstone is no sign of life."""
        present = ~items.tombstones
        for p in np.flatnonzero(present & ~self.named[rows]).tolist():
            self.ids[rows[p]] = items.item_ids[p]
        self.named[rows[present]] = True

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
            long = 2.0 ** (-ahead / self.half_life_long_ms)
            self.rescale(2.0 ** (-ahead / self.half_life_short_ms), long)
            self.links.rescale(long)
            self.habits.rescale(long)
            self.postings.reorder()
        self.landmark_at = self._newest_at

    def apply_items(self, items: list[Item], removed: list[str]) -> int:
        """Apply entries of the catalog, then removals: a removed item stays known but is no longer available.

        Returns
        -------
        How many were refused, since their hash is that of an item with another id.
        """
        self._forget_derived()
        self._release_unused()
        seen: dict[int, str] = {}
        known_items = [item for item in items if self._is_its_own(item.item_id, seen)]
        known_removed = [item_id for item_id in removed if self._is_its_own(item_id, seen)]
        self._apply_entries(Entries.of(known_items, self._names))
        self._remove(np.unique(hash_all(known_removed)))
        self._forget_names()
        self.postings.refill()
        return len(items) + len(removed) - len(known_items) - len(known_removed)

    def _forget_names(self) -> None:
        """Forget the names of attributes that no item has any more, once they have doubled."""
        if len(self._names) > self._look_at_names:
            carried = set(np.unique(self.attributes[: self.n]).tolist())
            self._names = {attribute: name for attribute, name in self._names.items() if attribute in carried}
            self._look_at_names = max(LEAST_NAMES, 2 * len(self._names))

    def _is_its_own(self, item_id: str, seen: dict[int, str]) -> bool:
        item = hash64(item_id)
        row = self.row_of(item)
        return ((self.ids[row] if row >= 0 else "") or seen.setdefault(item, item_id)) == item_id

    def _apply_entries(self, entries: Entries) -> None:
        rows = self.ensure(entries.hashes)
        ids, titles = self.ids, self.titles
        for row, item in zip(rows.tolist(), entries.items, strict=True):
            ids[row], titles[row] = item.item_id, item.title
            self.eligibility.put(row, item.requires, item.excludes)
        self.named[rows] = self.in_catalog[rows] = True
        self.available[rows] = entries.available
        self.price[rows], self.margin[rows] = entries.price, entries.margin
        self.expires_at[rows] = entries.expires_at
        self.location[rows], self.reach_km[rows] = entries.location, entries.reach_km
        self.category[rows] = entries.category
        self.attributes[rows] = entries.attributes
        self._forget_facts(entries.hashes)
        self._describe_again(rows)
        created_at = np.where(entries.created_at, entries.created_at, self.first_seen_at[rows])
        numbers = np.where(entries.available[:, None], self.postings.number(entries.attributes), -1)
        moved = (numbers != self.posted[rows]).any(axis=1) | (created_at != self.created_at[rows])
        self.postings.withdraw(rows[moved])
        self.created_at[rows] = created_at
        self.postings.post(rows[moved], numbers[moved])
        self.has_catalog |= bool(len(rows))

    def _release_unused(self) -> None:
        """Free the rows that nothing needs any more, before the arrays have to grow for others.

        What `learn` has given up and the catalog does not hold is needed while a neighbour, a session or a trend names
        it. That an item has graduated may be known before the catalog is.
        """
        if self.n_items < self._look_at_n:
            return
        n = self.n
        used = (self.versions[:n] > 0).any(axis=1) | self.in_catalog[:n] | (self.n_sessions[:n] > 0)
        if not self.has_catalog:
            used |= ~self.available[:n] | self.graduated[:n]
        used[self.rows_of(self._trends.items())] = True
        counting = used.copy()
        for links in (self.links, self.habits):
            mark_mentioned(links.arrays, counting, used)
        rows = np.flatnonzero(~used & (self.hashes[:n] != 0)).astype(np.int32)
        if len(rows):
            self._forget_facts(self.hashes[rows])
            self.postings.withdraw(rows)
            for row in rows.tolist():
                self.ids[row] = self.titles[row] = ""
                self.eligibility.put(row, (), ())
            self.release(rows)
            self._describe_again(rows)
        self._look_at_n = self._next_look()

    def _next_look(self) -> int:
        """Say at how many items to look for unused rows again: seldom, since a look reads all neighbours."""
        return max(self.n_items, self.capacity * 3 // 4) + self.capacity // 8

    def _remove(self, hashes: Int64s) -> None:
        """Remove items; those unknown so far too, since their own rows may come later."""
        rows = self.ensure(hashes)
        self.available[rows] = self.in_catalog[rows] = False
        self.attributes[rows] = 0
        for row in rows.tolist():
            self.eligibility.put(row, (), ())
        self._forget_facts(hashes)
        self._describe_again(rows)
        self.postings.withdraw(rows)

    def _give(self, n: int) -> Int32s:
        given = super()._give(n)
        self._describe_again(given)
        return given

    def _describe_again(self, rows: Int32s) -> None:
        for learned in (self.learned, self._coming):
            if learned is not None:
                learned.touch(rows)

    def _forget_facts(self, hashes: Int64s) -> None:
        for item in hashes.tolist():
            self._facts.pop(item, None)

    def _forget_derived(self) -> None:
        self._popular.clear()
        self._derived.clear()
