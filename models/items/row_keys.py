"""Keys of rows of `model-updates`, and whether bytes are the row that a key names."""

import struct
from typing import NamedTuple

from models.items.columns import N_DIMENSIONS
from models.items.wire import (
    CODE_MASK,
    CONTENT,
    FORMAT,
    FORMAT_SHIFT,
    GRADUATED,
    HABITS_FORMAT,
    HEADER_WORDS,
    MAX_SESSIONS,
    N_SHIFT,
    NEIGHBOURS,
    SESSIONS,
    TOMBSTONE,
    TRENDING,
    VERSIONS_A_MS,
    header_of,
    n_words,
)
from models.numeric.ids import hash64

MAX_DIGITS = 10
"""Of a shard's or a session's number."""
END_OF_TIME = 1 << 53
"""Unix ms beyond which no message has a time."""

_TABLES = {
    "neighbours": NEIGHBOURS,
    "content": CONTENT,
    "trending": TRENDING,
    "sessions": SESSIONS,
    "graduated": GRADUATED,
}
_HEADER = struct.Struct("<8q")


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
        if not code or not name or not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
            raise RowError(
                raw,
                "no key of a row (neighbours/<item>, content/<item>, trending/<segment>/<shard>, sessions/<number>, "
                "graduated/<item>)",
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
        head, name_hash, version, learned_until, reference_at, extra, _, n_habits = _HEADER.unpack_from(value)
        n, form = head >> N_SHIFT, head >> FORMAT_SHIFT & 0xFF
        if form not in {FORMAT, HABITS_FORMAT}:
            raise self.error(f"a row of format {form}, this release reads up to {HABITS_FORMAT}: upgrade it first")
        if n_habits < 0 or (form == HABITS_FORMAT) != (n_habits > 0) or (n_habits and self.code != NEIGHBOURS):
            raise self.error(f"{n_habits} habits in a row of format {form}")
        if (
            head & CODE_MASK != self.code
            or name_hash != hash64(self.name)
            or (self.code in {TRENDING, SESSIONS} and extra != self.number)
        ):
            raise self.error("a row of another key")
        fixed = {CONTENT: N_DIMENSIONS, GRADUATED: 0}.get(self.code, n)
        if n < 0 or n != fixed or n_words(self.code, n, n_habits) * 8 != len(value):
            raise self.error(f"{len(value)} bytes are no row of {n} entries")
        in_time = 0 <= learned_until < END_OF_TIME and 0 <= reference_at < END_OF_TIME and 0 <= extra < END_OF_TIME
        if version < 0 or not in_time:
            raise self.error("a version or a time that no row has")
        newest_at = max(learned_until, reference_at, extra if self.code == NEIGHBOURS else 0)
        if newest_at > latest_at:
            raise self.error(f"a row of a time {newest_at - latest_at} ms further ahead of the clock than it may be")
        if version > (32 * latest_at + 31 if self.code == SESSIONS else latest_at << VERSIONS_A_MS):
            raise self.error(f"version {version}, which no row can have by now: it would outlive all that come")

    def error(self, reason: str) -> RowError:
        """Make the error that names the key."""
        return RowError(self.raw, reason)


CheckedRow = tuple[RowKey, bytes | None]
"""A row that was checked, or a tombstone."""


def tombstone(key: RowKey) -> bytes:
    """Make a row without entries in place of a tombstone."""
    return header_of(key.code, 0, hash64(key.name), TOMBSTONE, 0, 0).tobytes()
