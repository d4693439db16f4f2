"""Rows of `model-updates`: packed tightly, since a million of them have to load in seconds.

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
weights (trending), padded to a whole word, or n hashes (sessions).
"""

import struct
from typing import NamedTuple

import numpy as np

from models.items.columns import N_DIMENSIONS
from models.items.sessions import MAX_SESSIONS
from models.numeric.arrays import Floats, Hash32s, Int8s, Int64s
from models.numeric.ids import hash64

FORMAT = 1
NEIGHBOURS, CONTENT, TRENDING, SESSIONS = 1, 2, 3, 4
TABLES = {"neighbours": NEIGHBOURS, "content": CONTENT, "trending": TRENDING, "sessions": SESSIONS}
HEADER_WORDS = 8
END_OF_TIME = 1 << 53
"""Unix ms beyond which no message has a time."""

_HEAD = struct.Struct("<6q")


def _header(code: int, n: int, name: int, version: int, learned_until: int, reference_at: int, extra: int) -> Int64s:
    words = np.zeros(HEADER_WORDS, np.int64)
    words[:6] = (code | FORMAT << 8 | n << 16, name, version, learned_until, reference_at, extra)
    return words


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 8)


def to_bf16(weights: Floats) -> Hash32s:
    """Round float32 weights to bfloat16, their upper 16 bits: to nearest, ties to even."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint32)


def pack_neighbours(
    item_id: str,
    *,
    version: int,
    learned_until: int,
    reference_at: int,
    first_seen_at: int,
    popularity: tuple[float, float],
    neighbours: Int64s,
    rule_weights: Floats,
    covisit_weights: Floats,
) -> bytes:
    """Pack an item's popularity and its (n,) neighbours with both weights, 12 bytes each."""
    header = _header(NEIGHBOURS, len(neighbours), hash64(item_id), version, learned_until, reference_at, first_seen_at)
    header[6:7].view(np.float32)[:] = popularity
    pairs = to_bf16(rule_weights) << np.uint32(16) | to_bf16(covisit_weights)
    return header.tobytes() + np.asarray(neighbours, np.int64).tobytes() + _padded(pairs.tobytes())


def pack_content(item_id: str, version: int, vector: Int8s) -> bytes:
    """Pack an item's (n,) content vector, one signed byte a dimension."""
    return _header(CONTENT, len(vector), hash64(item_id), version, 0, 0, 0).tobytes() + _padded(vector.tobytes())


def pack_trending(
    segment: str,
    *,
    shard: int,
    version: int,
    learned_until: int,
    reference_at: int,
    items: Int64s,
    weights: Floats,
) -> bytes:
    """Pack what trends in a segment, as far as one shard of the items knows: (n,) hashes and weights."""
    header = _header(TRENDING, len(items), hash64(segment), version, learned_until, reference_at, shard)
    body = np.asarray(weights, np.float32).tobytes()
    return header.tobytes() + np.asarray(items, np.int64).tobytes() + _padded(body)


def pack_session(number: int, *, version: int, last_at: int, user: int, items: Int64s) -> bytes:
    """Pack a session: the (n,) hashes of its items, oldest first, and the hash of its user."""
    header = _header(SESSIONS, len(items), hash64(str(number)), version, last_at, last_at, number)
    header[6] = user
    return header.tobytes() + np.asarray(items, np.int64).tobytes()


def n_words(code: int, n: int) -> int:
    """Count the words of a row with `n` entries."""
    if code == CONTENT:
        return HEADER_WORDS + (n + 7) // 8
    if code == SESSIONS:
        return HEADER_WORDS + n
    return HEADER_WORDS + n + (n + 1) // 2


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
            raise ValueError(f"{raw!r}: a key that is no UTF-8") from error
        code = TABLES.get(table, 0)
        number = "0"
        if code == TRENDING:
            name, _, number = name.rpartition("/")
        elif code == SESSIONS:
            number = name
        if not code or not name or not (number.isascii() and number.isdecimal()):
            raise ValueError(
                f"{raw!r}: no key of a row (neighbours/<item>, content/<item>, trending/<segment>/<shard>, "
                "sessions/<number>)"
            )
        if code == SESSIONS and int(number) >= MAX_SESSIONS:
            raise ValueError(f"{raw!r}: sessions are numbered below {MAX_SESSIONS}")
        return cls(raw, code, name, int(number))

    def check(self, value: bytes) -> None:
        """Check that the bytes are a row of this format, and this key's.

        Raises
        ------
        ValueError : they are not; the text names the key.
        """
        if len(value) < 8 * HEADER_WORDS:
            raise self.error(f"{len(value)} bytes are no packed row")
        head, name, version, learned_until, reference_at, extra = _HEAD.unpack_from(value)
        n, form = head >> 16, head >> 8 & 0xFF
        if form != FORMAT:
            raise self.error(f"a row of format {form}, this release reads format {FORMAT}: upgrade it first")
        if (
            head & 0xFF != self.code
            or name != hash64(self.name)
            or (self.code in {TRENDING, SESSIONS} and extra != self.number)
        ):
            raise self.error("a row of another key")
        if n < 0 or n_words(self.code, n) * 8 != len(value) or (self.code == CONTENT and n != N_DIMENSIONS):
            raise self.error(f"{len(value)} bytes are no row of {n} entries")
        in_time = 0 <= learned_until < END_OF_TIME and 0 <= reference_at < END_OF_TIME and 0 <= extra < END_OF_TIME
        if version < 0 or not in_time:
            raise self.error("a version or a time that no row has")

    def error(self, reason: str) -> ValueError:
        """Make the error that names the key."""
        return ValueError(f"{self.raw.decode(errors='replace')}: {reason}")
