"""The replicated item table: rows of `model-updates` and entries of `catalog`, as arrays that scoring reads.

Decayed weights are kept in landmark units (forward decay; Cormode, Shkapenyuk, Srivastava and Xu, 2009): a weight w as
of time t is stored as w * 2^((t - landmark) / half-life), so that weights of different times compare and nothing has to
be decayed again.
"""

import numpy as np

from models.arrays import Bools, Floats, Hash32s, Int8s, Int32s, Int64s
from models.hashmap import find_place
from models.ids import hash32, hash64
from models.items.attributes import attributes_of
from models.items.columns import Columns
from models.items.postings import Postings
from models.items.rows import CONTENT, HEADER_WORDS, NEIGHBOURS, check
from models.items.trends import Trends
from models.kernels import kernel
from models.messages import Item

DAY_MS = 86_400_000
NO_ATTRIBUTES: Hash32s = np.empty(0, np.uint32)


class ItemTable:
    """Everything that a process knows of the items, by dense row number, which never leaves the process.

    Parameters
    ----------
    landmark_at : the moment that stored weights refer to, Unix ms: about now.
    capacity : rows to begin with; a table that is told its size never copies itself.
    n_neighbours : K, neighbours kept of an item.
    half_life_short_ms, half_life_long_ms : of the published popularities, as `learn` uses them.
    """

    def __init__(
        self,
        landmark_at: int,
        *,
        capacity: int = 1 << 14,
        n_neighbours: int = 50,
        half_life_short_ms: int = DAY_MS,
        half_life_long_ms: int = 14 * DAY_MS,
    ) -> None:
        self.landmark_at = landmark_at
        self.half_life_short_ms = half_life_short_ms
        self.half_life_long_ms = half_life_long_ms
        self.columns = Columns(capacity, n_neighbours)
        self.ids: list[str] = []
        """Of each row; empty until its own row or its catalog entry names it."""
        self.titles: list[str] = []
        self.learned_until = 0
        """Event time of the newest event that the applied rows had learned."""
        self.n_applied = 0
        """Rows that changed the table so far."""
        self._postings = Postings()
        self._trends = Trends()
        self._names: dict[int, str] = {}
        self._facts: dict[int, tuple[Hash32s, float]] = {}

    @property
    def n(self) -> int:
        """Rows in use."""
        return self.columns.n

    @property
    def hashes(self) -> Int64s:
        """(N,) item hashes."""
        return self.columns.hashes

    @property
    def attributes(self) -> Hash32s:
        """(N, 8) attribute hashes, 0 where there are fewer."""
        return self.columns.attributes

    @property
    def category(self) -> Hash32s:
        """(N,) hash of the first category, 0 for none."""
        return self.columns.category

    @property
    def price(self) -> Floats:
        """(N,) prices, nan where unknown."""
        return self.columns.price

    @property
    def created_at(self) -> Int64s:
        """(N,) the catalog's time, else when the item was first seen; Unix ms."""
        return self.columns.created_at

    @property
    def available(self) -> Bools:
        """(N,) false where the catalog says so or removed the item."""
        return self.columns.available

    @property
    def named(self) -> Bools:
        """(N,) false while an item is known by its hash alone."""
        return self.columns.named

    @property
    def vectors(self) -> Int8s:
        """(N, 64) content vectors of length 127."""
        return self.columns.vectors

    @property
    def neighbours(self) -> Int32s:
        """(N, K) rows, -1 where there are fewer."""
        return self.columns.neighbours

    @property
    def rule_weights(self) -> Floats:
        """(N, K) weights of the rule item -> neighbour, in landmark units of the long half-life."""
        return self.columns.rule_weights

    @property
    def covisit_weights(self) -> Floats:
        """(N, K) weights of both seen in a session, in landmark units of the long half-life."""
        return self.columns.covisit_weights

    @property
    def popularity(self) -> Floats:
        """(N, 2) decayed events at the short and the long half-life, each in its landmark units."""
        return self.columns.popularity

    @property
    def posting_new(self) -> Int32s:
        """(P, 32) newest items of an attribute, -1 where there are fewer."""
        return self._postings.newest

    @property
    def posting_popular(self) -> Int32s:
        """(P, 32) most popular items of an attribute, -1 where there are fewer."""
        return self._postings.popular

    @property
    def posting_n(self) -> Int32s:
        """(P,) items that carry an attribute."""
        return self._postings.n_items

    def posting_of(self, attributes: Hash32s) -> Int32s:
        """Look up (M,) attribute hashes: (M,) posting numbers, -1 where no item carries one."""
        return self._postings.numbers_of(attributes)

    def rows_of(self, hashes: Int64s) -> Int32s:
        """Look up (M,) item hashes: (M,) rows, -1 where an item is unknown."""
        return self.columns.rows_of(hashes)

    def trending(self, segment: int) -> tuple[Int32s, Floats]:
        """Return what trends in a segment: (T,) rows and weights, best first, T at most 500."""
        return self._trends.best(segment, self.columns)

    def attribute_name(self, attribute: int) -> str:
        """Return an attribute's value as a person would say it: `Drama`; empty for an unknown one."""
        return self._names.get(attribute, "").partition("=")[2]

    def facts(self, item: int) -> tuple[Hash32s, float]:
        """Return an item's (M,) attribute hashes, M at most 8, and its price (0 unknown); none for an unknown item."""
        facts = self._facts.get(item)
        if facts is None:
            row = int(self.rows_of(np.array([item], np.int64))[0])
            if row < 0:
                return NO_ATTRIBUTES, 0.0
            attributes = self.attributes[row][self.attributes[row] != 0]
            facts = self._facts[item] = (attributes, float(np.nan_to_num(self.price[row])))
        return facts

    def apply_rows(self, keys: list[bytes], values: list[bytes | None]) -> int:
        """Apply rows of `model-updates` in their order; an older or repeated version changes nothing.

        Parameters
        ----------
        keys : `neighbours/<item_id>`, `content/<item_id>` or `trending/<segment>/<shard>`.
        values : packed rows (`models.items.rows`); None empties the row.

        Returns
        -------
        How many rows changed the table.

        Raises
        ------
        ValueError : a row is malformed; the text names its key. Rows before it are applied.
        """
        applied = 0
        gathered: tuple[list[str], list[bytes]] = ([], [])
        for raw, value in zip(keys, values, strict=True):
            key = raw.decode()
            if value is None:
                applied += self._apply_packed(*gathered)
                gathered = ([], [])
                applied += self._empty(key)
            elif check(key, value) in (NEIGHBOURS, CONTENT):
                gathered[0].append(key)
                gathered[1].append(value)
            else:
                applied += self._apply_trending(value)
        applied += self._apply_packed(*gathered)
        self.n_applied += applied
        return applied

    def _apply_packed(self, keys: list[str], values: list[bytes]) -> int:
        if not keys:
            return 0
        words = np.frombuffer(b"".join(values), np.int64)
        sizes = np.fromiter((len(value) // 8 for value in values), np.int64, len(values))
        starts = np.cumsum(sizes) - sizes
        rows = self.columns.ensure(words[starts + 1])
        mentioned = np.empty(len(words), np.int64)
        self.columns.ensure(mentioned[: _mentioned(words, starts, mentioned)])
        self._lengthen()
        self._name(rows, keys)
        columns = self.columns
        changed = np.zeros(len(rows), np.bool_)
        _apply(
            words, words.view(np.uint32), words.view(np.int8), starts, rows, changed, columns.places, columns.hashes,
            columns.versions, columns.neighbours, columns.rule_weights, columns.covisit_weights, columns.popularity,
            columns.first_seen_at, columns.vectors, self.landmark_at, self.half_life_short_ms, self.half_life_long_ms,
        )  # fmt: skip
        learned = rows[changed]
        undated = learned[(columns.created_at[learned] == 0) & (columns.first_seen_at[learned] > 0)]
        columns.created_at[undated] = columns.first_seen_at[undated]
        self._postings.raise_popular(learned, columns.attributes, columns.popularity, columns.hashes)
        self.learned_until = max(self.learned_until, int(words[starts[changed] + 3].max(initial=0)))
        return int(changed.sum())

    def _apply_trending(self, value: bytes) -> int:
        words = np.frombuffer(value, np.int64)
        n = int(words[0]) >> 16
        segment, version, learned_until, reference_at, shard = words[1:6].tolist()
        weights = words[HEADER_WORDS + n :].view(np.float32)[:n]
        scale = 2.0 ** ((reference_at - self.landmark_at) / self.half_life_short_ms)
        scaled = (weights * scale).astype(np.float32)
        items = words[HEADER_WORDS : HEADER_WORDS + n]
        if not self._trends.put(segment, shard, version, items, scaled):
            return 0
        # Now, and not when they are asked for: scoring holds arrays of the table, which must not grow meanwhile.
        self.columns.ensure(items)
        self._lengthen()
        self.learned_until = max(self.learned_until, learned_until)
        return 1

    def _empty(self, key: str) -> int:
        table, _, name = key.partition("/")
        if table == "trending":
            segment, _, shard = name.rpartition("/")
            self._trends.drop(hash64(segment), int(shard))
            return 1
        row = int(self.rows_of(np.array([hash64(name)], np.int64))[0])
        if row < 0:
            return 0
        columns = self.columns
        if table == "content":
            columns.vectors[row] = 0
            columns.versions[row, 1] = 0
        else:
            columns.neighbours[row] = -1
            columns.rule_weights[row] = columns.covisit_weights[row] = 0
            columns.popularity[row] = 0
            columns.versions[row, 0] = 0
        return 1

    def apply_items(self, items: list[Item], removed: list[str]) -> None:
        """Apply entries of the catalog, then removals: a removed item stays known but is no longer available."""
        hashes = np.fromiter((hash64(item.item_id) for item in items), np.int64, len(items))
        rows = self.columns.ensure(hashes)
        self._lengthen()
        for row, item in zip(rows.tolist(), items, strict=True):
            self._apply_item(row, item)
        for item_id in removed:
            row = int(self.rows_of(np.array([hash64(item_id)], np.int64))[0])
            if row >= 0:
                self._withdraw(row)
                self.columns.available[row] = False
                self.columns.in_catalog[row] = False

    def _apply_item(self, row: int, item: Item) -> None:
        columns = self.columns
        self._withdraw(row)
        self.ids[row], self.titles[row] = item.item_id, item.title
        columns.named[row] = columns.in_catalog[row] = True
        columns.available[row] = item.available
        columns.price[row] = np.nan if item.price is None else item.price
        columns.created_at[row] = item.created_at or columns.first_seen_at[row]
        columns.category[row] = hash32(f"category={item.categories[0]}") if item.categories else 0
        attributes = []
        for name in attributes_of(item):
            attributes.append(hash32(name))
            self._names[attributes[-1]] = name
        columns.attributes[row, : len(attributes)] = attributes
        self._postings.add(row, attributes, columns.created_at, columns.hashes, columns.popularity)

    def _withdraw(self, row: int) -> None:
        columns = self.columns
        self._facts.pop(int(columns.hashes[row]), None)
        self._postings.remove(row, [a for a in columns.attributes[row].tolist() if a])
        columns.attributes[row] = 0

    def _lengthen(self) -> None:
        missing = self.n - len(self.ids)
        self.ids.extend([""] * missing)
        self.titles.extend([""] * missing)

    def _name(self, rows: Int32s, keys: list[str]) -> None:
        for p in np.flatnonzero(~self.columns.named[rows]).tolist():
            self.ids[rows[p]] = keys[p].partition("/")[2]
        self.columns.named[rows] = True


@kernel
def _mentioned(words: Int64s, starts: Int64s, mentioned: Int64s) -> int:
    """Gather the neighbours' hashes of all rows; returns how many."""
    m = 0
    for start in starts:
        if words[start] & 0xFF == NEIGHBOURS:
            for p in range(words[start] >> 16):
                mentioned[m] = words[start + HEADER_WORDS + p]
                m += 1
    return m


@kernel
def _apply(
    words: Int64s, halves: Hash32s, signed: Int8s, starts: Int64s, rows: Int32s, changed: Bools, places: Int32s,
    hashes: Int64s, versions: Int64s, neighbours: Int32s, rule_weights: Floats, covisit_weights: Floats,
    popularity: Floats, first_seen_at: Int64s, vectors: Int8s, landmark_at: int, half_life_short: int,
    half_life_long: int,
) -> None:  # fmt: skip
    """Write packed rows into the columns; an older or repeated version changes nothing."""
    bits = np.empty(2, np.uint32)
    weights = bits.view(np.float32)
    for m in range(len(starts)):
        start, row = starts[m], rows[m]
        n = words[start] >> 16
        body = start + HEADER_WORDS
        table = 1 if words[start] & 0xFF == CONTENT else 0
        if words[start + 2] <= versions[row, table]:
            continue
        versions[row, table] = words[start + 2]
        changed[m] = True
        if table == 1:
            for d in range(min(n, vectors.shape[1])):
                vectors[row, d] = signed[8 * body + d]
            continue
        age = words[start + 4] - landmark_at
        long = 2.0 ** (age / half_life_long)
        bits[0], bits[1] = halves[2 * start + 12], halves[2 * start + 13]
        popularity[row, 0] = weights[0] * 2.0 ** (age / half_life_short)
        popularity[row, 1] = weights[1] * long
        first_seen_at[row] = words[start + 5]
        for p in range(neighbours.shape[1]):
            if p < n:
                pair = halves[2 * (body + n) + p]
                bits[0], bits[1] = pair & np.uint32(0xFFFF0000), pair << np.uint32(16)
                neighbours[row, p] = places[find_place(places, hashes, words[body + p])]
                rule_weights[row, p] = weights[0] * long
                covisit_weights[row, p] = weights[1] * long
            else:
                neighbours[row, p] = -1
                rule_weights[row, p] = covisit_weights[row, p] = 0.0
