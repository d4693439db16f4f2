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
7     0
====  =======================================================================================

Then the body: n hashes and n packed pairs of weights (neighbours), n signed bytes (content), n hashes and n float32
weights (trending), padded to a whole word, or n hashes (sessions). A pair of weights is two bfloat16: the rule's in the
upper 16 bits, the co-visitation's in the lower ones.
"""

import struct
from typing import NamedTuple

import numpy as np

from models.items.columns import N_DIMENSIONS
from models.numeric.arrays import Floats, Hash32s, Int8s, Int64s
from models.numeric.ids import hash64

FORMAT = 1
NEIGHBOURS, CONTENT, TRENDING, SESSIONS = 1, 2, 3, 4
"""Table codes."""
_TABLES = {"neighbours": NEIGHBOURS, "content": CONTENT, "trending": TRENDING, "sessions": SESSIONS}

HEAD, HASH, VERSION, LEARNED_UNTIL, REFERENCE_AT, EXTRA, POPULARITY = range(7)
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
sixteen times its own time, and its length."""
END_OF_TIME = 1 << 53
"""Unix ms beyond which no message has a time."""

_HEAD = struct.Struct("<6q")


class NeighboursRow(NamedTuple):
    """An item's popularity and its neighbours; all weights are decayed to `reference_at`."""

    item_id: str
    version: int
    reference_at: int
    """Time of the newest event that changed the row."""
    first_seen_at: int
    popularity: tuple[float, float]
    """At the short and at the long half-life."""
    neighbours: Int64s
    """(n,) hashes, the heaviest first."""
    rule_weights: Floats
    """(n,) of the rule item -> neighbour."""
    covisit_weights: Floats
    """(n,)"""

    @property
    def key(self) -> str:
        """Name the row on the topic."""
        return neighbours_key(self.item_id)

    def pack(self) -> bytes:
        """Pack into 64 bytes and 12 a neighbour."""
        header = _header(
            NEIGHBOURS, len(self.neighbours), hash64(self.item_id), self.version, self.reference_at, self.first_seen_at
        )
        header[POPULARITY : POPULARITY + 1].view(np.float32)[:] = self.popularity
        pairs = to_bf16(self.rule_weights) << np.uint32(RULE_SHIFT) | to_bf16(self.covisit_weights)
        return header.tobytes() + np.asarray(self.neighbours, np.int64).tobytes() + _padded(pairs.tobytes())


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
        header = _header(CONTENT, len(self.vector), hash64(self.item_id), self.version, 0, 0)
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
        header = _header(TRENDING, len(self.items), hash64(self.segment), self.version, self.reference_at, self.shard)
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
        header = _header(SESSIONS, len(self.items), hash64(str(self.number)), self.version, self.last_at, self.number)
        header[USER] = self.user
        return header.tobytes() + np.array(self.items, np.int64).tobytes()


PackedRow = NeighboursRow | ContentRow | TrendingRow | SessionRow


def neighbours_key(item_id: str) -> str:
    """Name an item's row of neighbours."""
    return f"neighbours/{item_id}"


def content_key(item_id: str) -> str:
    """Name an item's row of content."""
    return f"content/{item_id}"


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


def _header(code: int, n: int, name_hash: int, version: int, at: int, extra: int) -> Int64s:
    """Make a header; `at` is the time both of the newest event learned and to which weights refer."""
    words = np.zeros(HEADER_WORDS, np.int64)
    words[:POPULARITY] = (code | FORMAT << FORMAT_SHIFT | n << N_SHIFT, name_hash, version, at, at, extra)
    return words


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 8)


def _n_words(code: int, n: int) -> int:
    """Count the words of a row with n entries."""
    if code == CONTENT:
        return HEADER_WORDS + (n + 7) // 8
    if code == SESSIONS:
        return HEADER_WORDS + n
    return HEADER_WORDS + n + (n + 1) // 2


class RowError(ValueError):
    """A row is malformed; the text names its key, which may hold what users sent, and `reason` does not."""

    def __init__(self, key: bytes, reason: str) -> None:
        super().__init__(f"{key.decode(errors='replace')}: {reason}")
        self.reason = reason


class RowKey(NamedTuple):
    """Which row of which table."""

    raw: bytes
    code: int
    """Of the table."""
    name: str
    """The item's id, the trending segment, or the session's number."""
    number: int
    """The shard of a trending row, the number of a session; 0 for the others."""

    @classmethod
    def parse(cls, raw: bytes) -> "RowKey":
        """Read a key.

        Raises
        ------
        ValueError : no row has such a key.
        """
        try:
            table, _, name = raw.decode().partition("/")
        except UnicodeDecodeError as error:
            raise RowError(raw, "a key that is no UTF-8") from error
        code = _TABLES.get(table, 0)
        number = "0"
        if code == TRENDING:
            name, _, number = name.rpartition("/")
        elif code == SESSIONS:
            number = name
        if not code or not name or not (number.isascii() and number.isdecimal()):
            raise RowError(
                raw,
                "no key of a row (neighbours/<item>, content/<item>, trending/<segment>/<shard>, sessions/<number>)",
            )
        if code == SESSIONS and int(number) >= MAX_SESSIONS:
            raise RowError(raw, f"sessions are numbered below {MAX_SESSIONS}")
        return cls(raw, code, name, int(number))

    def check(self, value: bytes, latest_at: int = END_OF_TIME) -> None:
        """Check that the bytes are a row of this format, and this key's.

        Parameters
        ----------
        latest_at : no row may be of a later time, Unix ms.

        Raises
        ------
        ValueError : they are not; the text names the key.
        """
        if len(value) < 8 * HEADER_WORDS:
            raise self.error(f"{len(value)} bytes are no packed row")
        head, name_hash, version, learned_until, reference_at, extra = _HEAD.unpack_from(value)
        n, form = head >> N_SHIFT, head >> FORMAT_SHIFT & 0xFF
        if form != FORMAT:
            raise self.error(f"a row of format {form}, this release reads format {FORMAT}: upgrade it first")
        if (
            head & CODE_MASK != self.code
            or name_hash != hash64(self.name)
            or (self.code in {TRENDING, SESSIONS} and extra != self.number)
        ):
            raise self.error("a row of another key")
        if n < 0 or _n_words(self.code, n) * 8 != len(value) or (self.code == CONTENT and n != N_DIMENSIONS):
            raise self.error(f"{len(value)} bytes are no row of {n} entries")
        in_time = 0 <= learned_until < END_OF_TIME and 0 <= reference_at < END_OF_TIME and 0 <= extra < END_OF_TIME
        if version < 0 or not in_time:
            raise self.error("a version or a time that no row has")
        newest_at = max(learned_until, reference_at, extra if self.code == NEIGHBOURS else 0)
        if newest_at > latest_at:
            raise self.error(f"a row of a time {newest_at - latest_at} ms further ahead of the clock than it may be")
        if version > (16 * latest_at + 15 if self.code == SESSIONS else latest_at << VERSIONS_A_MS):
            raise self.error(f"version {version}, which no row can have by now: it would outlive all that come")

    def error(self, reason: str) -> RowError:
        """Make the error that names the key."""
        return RowError(self.raw, reason)


CheckedRow = tuple[RowKey, bytes | None]
"""A row that was checked, or a tombstone."""


def tombstone(key: RowKey) -> bytes:
    """Make a row without entries in place of a tombstone."""
    return _header(key.code, 0, hash64(key.name), TOMBSTONE, 0, 0).tobytes()
