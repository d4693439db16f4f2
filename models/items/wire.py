"""Rows of `model-updates` as they travel: packed tightly, since a million of them have to load in seconds.

A row is a whole number of 8-byte words, little endian, so that many rows joined can be read as one array:

====  =======================================================================================
word  content
====  =======================================================================================
0     table code | format << 8 | n << 16
1     hash of the item, or of the trending segment
2     row version, rising
3     event time of the newest event learned, Unix ms
4     the moment to which decayed weights refer, Unix ms
5     event time at which the item was first seen; the shard of a trending row; the number of a session
6     two float32: popularity at the short and at the long half-life; the hash of a session's user
7     m, of the neighbours' habits; 0 in all other rows
====  =======================================================================================

Then the body: n hashes and n packed pairs of weights, then m and m of habits (neighbours), n signed bytes (content),
n hashes and n float32 weights (trending), each list padded to a whole word, or n hashes (sessions). The row of an item
that has graduated has no body: n is 0, and the moment is when it was shown last. A pair of weights
is two bfloat16: the rule's in the upper 16 bits, the co-visitation's in the lower ones. A row with habits is of format
2, which releases that know none refuse; all others are of format 1.
"""

from typing import NamedTuple

import numpy as np

from models.numeric.arrays import Floats, Hash32s, Int8s, Int64s
from models.numeric.ids import hash64

FORMAT, HABITS_FORMAT = 1, 2
NEIGHBOURS, CONTENT, TRENDING, SESSIONS, GRADUATED = 1, 2, 3, 4, 5
"""Table codes."""

HEAD, HASH, VERSION, LEARNED_UNTIL, REFERENCE_AT, EXTRA, POPULARITY, N_HABITS = range(8)
"""Words of the header."""
FIRST_SEEN_AT, USER = EXTRA, POPULARITY
HEADER_WORDS = 8
CODE_MASK, FORMAT_SHIFT, N_SHIFT = 0xFF, 8, 16
"""Of the head."""
RULE_SHIFT = 16
"""Of a pair of weights; also how far a bfloat16 has to be shifted to be a float32."""
TOMBSTONE = -1
"""Version of a row that stands for a tombstone: it always counts, and after it any version does."""
MAX_SESSIONS = 1 << 22
"""No session has this number or a higher one."""
VERSIONS_A_MS = 20
"""Versions begin at the time when their state was made, in milliseconds, shifted by so many bits; a session's is
32 times its own time, and its length."""


class WeighedItems(NamedTuple):
    """Other items, and how much leads to each."""

    items: Int64s
    """(n,) hashes, the heaviest first."""
    rule_weights: Floats
    """(n,) of the rule item -> other."""
    covisit_weights: Floats
    """(n,) of both, in either order."""

    def pack(self) -> bytes:
        """Pack into 12 bytes each."""
        pairs = to_bf16(self.rule_weights) << np.uint32(RULE_SHIFT) | to_bf16(self.covisit_weights)
        return np.asarray(self.items, np.int64).tobytes() + _padded(pairs.tobytes())


NO_ITEMS = WeighedItems(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))


class NeighboursRow(NamedTuple):
    """An item's popularity and its neighbours; all weights are decayed to `reference_at`."""

    item_id: str
    version: int
    reference_at: int
    """Time of the newest event that changed the row."""
    first_seen_at: int
    popularity: tuple[float, float]
    """At the short and at the long half-life."""
    neighbours: WeighedItems
    """What came in one session with it."""
    habits: WeighedItems = NO_ITEMS
    """What came in different sessions of a user."""

    @property
    def key(self) -> str:
        """Name the row on the topic."""
        return neighbours_key(self.item_id)

    def pack(self) -> bytes:
        """Pack into 64 bytes and 12 a neighbour."""
        n, n_habits = len(self.neighbours.items), len(self.habits.items)
        header = header_of(NEIGHBOURS, n, hash64(self.item_id), self.version, self.reference_at, self.first_seen_at)
        header[POPULARITY : POPULARITY + 1].view(np.float32)[:] = self.popularity
        if n_habits:
            header[HEAD] += HABITS_FORMAT - FORMAT << FORMAT_SHIFT
            header[N_HABITS] = n_habits
        return header.tobytes() + self.neighbours.pack() + (self.habits.pack() if n_habits else b"")


class ContentRow(NamedTuple):
    """An item's content."""

    item_id: str
    version: int
    vector: Int8s
    """(64,)"""

    @property
    def key(self) -> str:
        """Name the row on the topic."""
        return content_key(self.item_id)

    def pack(self) -> bytes:
        """Pack into 64 bytes and one a dimension."""
        header = header_of(CONTENT, len(self.vector), hash64(self.item_id), self.version, 0, 0)
        return header.tobytes() + _padded(self.vector.tobytes())


class TrendingRow(NamedTuple):
    """What trends in a segment among one shard's items; weights are decayed to `reference_at`."""

    segment: str
    shard: int
    version: int
    reference_at: int
    items: Int64s
    """(n,) hashes, the heaviest first."""
    weights: Floats
    """(n,)"""

    @property
    def key(self) -> str:
        """Name the row on the topic."""
        return trending_key(self.segment, self.shard)

    def pack(self) -> bytes:
        """Pack into 64 bytes and 12 an item."""
        header = header_of(TRENDING, len(self.items), hash64(self.segment), self.version, self.reference_at, self.shard)
        weights = np.asarray(self.weights, np.float32)
        return header.tobytes() + np.asarray(self.items, np.int64).tobytes() + _padded(weights.tobytes())

    @classmethod
    def unpack(cls, segment: str, row: bytes) -> "TrendingRow":
        """Read a row that `RowKey.check` has passed."""
        words = np.frombuffer(row, np.int64)
        n = int(words[HEAD]) >> N_SHIFT
        weights = words[HEADER_WORDS + n :].view(np.float32)[:n]
        return cls(
            segment, int(words[EXTRA]), int(words[VERSION]), int(words[REFERENCE_AT]),
            words[HEADER_WORDS : HEADER_WORDS + n], weights,
        )  # fmt: skip


class SessionRow(NamedTuple):
    """A user's newest session."""

    number: int
    version: int
    last_at: int
    user: int
    """Its hash."""
    items: tuple[int, ...]
    """Hashes, oldest first."""

    @property
    def key(self) -> str:
        """Name the row on the topic."""
        return session_key(self.number)

    def pack(self) -> bytes:
        """Pack into 64 bytes and 8 an item."""
        header = header_of(SESSIONS, len(self.items), hash64(str(self.number)), self.version, self.last_at, self.number)
        header[USER] = self.user
        return header.tobytes() + np.array(self.items, np.int64).tobytes()


class GraduatedRow(NamedTuple):
    """An item that was shown as often as it takes to be known."""

    item_id: str
    version: int
    shown_at: int
    """When it was shown last, Unix ms."""

    @property
    def key(self) -> str:
        """Name the row on the topic."""
        return graduated_key(self.item_id)

    def pack(self) -> bytes:
        """Pack into 64 bytes."""
        return header_of(GRADUATED, 0, hash64(self.item_id), self.version, self.shown_at, 0).tobytes()


PackedRow = NeighboursRow | ContentRow | TrendingRow | SessionRow | GraduatedRow


def neighbours_key(item_id: str) -> str:
    """Name an item's row of neighbours."""
    return f"neighbours/{item_id}"


def content_key(item_id: str) -> str:
    """Name an item's row of content."""
    return f"content/{item_id}"


def graduated_key(item_id: str) -> str:
    """Name the row of an item that has graduated."""
    return f"graduated/{item_id}"


def session_key(number: int) -> str:
    """Name the row of the session with a number."""
    return f"sessions/{number}"


def trending_key(segment: str, shard: int) -> str:
    """Name the row of what trends in a segment among one shard's items."""
    return f"trending/{segment}/{shard}"


def to_bf16(weights: Floats) -> Hash32s:
    """Round float32 weights to bfloat16, their upper 16 bits: to nearest, ties to even."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint32)


def header_of(code: int, n: int, name_hash: int, version: int, at: int, extra: int) -> Int64s:
    """Make a header; `at` is the time both of the newest event learned and to which weights refer."""
    words = np.zeros(HEADER_WORDS, np.int64)
    words[:POPULARITY] = (code | FORMAT << FORMAT_SHIFT | n << N_SHIFT, name_hash, version, at, at, extra)
    return words


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 8)


def n_words(code: int, n: int, n_habits: int) -> int:
    """Count the words of a row with n entries, and so many habits."""
    if code == CONTENT:
        return HEADER_WORDS + (n + 7) // 8
    if code == SESSIONS:
        return HEADER_WORDS + n
    return HEADER_WORDS + n + (n + 1) // 2 + n_habits + (n_habits + 1) // 2
