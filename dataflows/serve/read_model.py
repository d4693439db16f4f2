"""What the door answers from: each user's newest slate, and the catalog with its titles, in one SQLite file."""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from models.numeric.ids import hash64

Offsets: TypeAlias = dict[int, int]
"""By partition: the next offset to read."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS slates (user_id TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE, hash INTEGER NOT NULL, value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS items_by_hash ON items (hash);
CREATE VIRTUAL TABLE IF NOT EXISTS titles USING fts5 (title, tokenize = 'unicode61 remove_diacritics 2');
CREATE TABLE IF NOT EXISTS offsets (
    topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, topic_id TEXT) WITHOUT ROWID;
"""
_WORD = re.compile(r"\w+")


class ItemEntry(NamedTuple):
    """One entry of the catalog, as it is stored."""

    item_id: str
    title: str
    value: bytes
    """The item as JSON."""


class ReadModel:
    """A copy of the newest slates and of the catalog, which goes on where it stopped.

    One thread writes; the event loop reads, on a connection of its own.

    Parameters
    ----------
    file : where the copy is kept; made where it is missing.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._writing = self._connect(file)
        self._writing.execute("PRAGMA journal_mode = WAL")
        # All of it is on the topics as well: losing the last writes in a power cut costs reading them again.
        self._writing.execute("PRAGMA synchronous = NORMAL")
        self._writing.executescript(_SCHEMA)
        self._reading = self._connect(file)

    @staticmethod
    def _connect(file: Path) -> sqlite3.Connection:
        return sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def close(self) -> None:
        """Close the file."""
        self._reading.close()
        self._writing.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Put what is written inside into one transaction: rows and the offsets that they came from."""
        self._writing.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._writing.execute("ROLLBACK")
            raise
        self._writing.execute("COMMIT")

    def resume(self, topic: str, topic_id: str | None) -> Offsets:
        """Return where to go on in a topic; all of it is read anew where it is another topic of its name."""
        with self.changing():
            known = self._writing.execute("SELECT topic_id FROM topics WHERE topic = ?", (topic,)).fetchone()
            if known is not None and known[0] != topic_id:
                self._writing.execute("DELETE FROM offsets WHERE topic = ?", (topic,))
            self._writing.execute("INSERT OR REPLACE INTO topics VALUES (?, ?)", (topic, topic_id))
        rows = self._writing.execute("SELECT partition, next FROM offsets WHERE topic = ?", (topic,))
        return {int(partition): int(at) for partition, at in rows}

    def note(self, topic: str, partition: int, at: int) -> None:
        """Note how far a partition has been read."""
        self._writing.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", (topic, partition, at))

    def put_slates(self, slates: Iterable[tuple[str, bytes | None]]) -> None:
        """Keep each user's slate in place of the one before; None forgets the user."""
        for user_id, value in slates:
            if value is None:
                self._writing.execute("DELETE FROM slates WHERE user_id = ?", (user_id,))
            else:
                self._writing.execute("INSERT OR REPLACE INTO slates VALUES (?, ?)", (user_id, value))

    def slate(self, user_id: str) -> bytes | None:
        """Return a user's newest slate as it stands on the topic."""
        row = self._reading.execute("SELECT value FROM slates WHERE user_id = ?", (user_id,)).fetchone()
        return None if row is None else bytes(row[0])

    def put_items(self, entries: Iterable[ItemEntry]) -> None:
        """Keep entries of the catalog in place of those before."""
        for entry in entries:
            self.remove_items([entry.item_id])
            row = self._writing.execute(
                "INSERT INTO items (item_id, hash, value) VALUES (?, ?, ?)",
                (entry.item_id, hash64(entry.item_id), entry.value),
            )
            self._writing.execute("INSERT INTO titles (rowid, title) VALUES (?, ?)", (row.lastrowid, entry.title))

    def remove_items(self, item_ids: Iterable[str]) -> None:
        """Forget entries of the catalog."""
        for item_id in item_ids:
            row = self._writing.execute("DELETE FROM items WHERE item_id = ? RETURNING id", (item_id,)).fetchone()
            if row is not None:
                self._writing.execute("DELETE FROM titles WHERE rowid = ?", row)

    def items(self, item_ids: list[str]) -> list[bytes]:
        """Return the entries that are known of these items."""
        marks = ",".join("?" * len(item_ids))
        rows = self._reading.execute(f"SELECT value FROM items WHERE item_id IN ({marks})", item_ids)  # noqa: S608
        return [bytes(value) for (value,) in rows]

    def items_by_hash(self, hashes: list[int]) -> list[str]:
        """Return the ids of the items with these hashes, in their order; unknown ones are left out."""
        marks = ",".join("?" * len(hashes))
        rows = self._reading.execute(f"SELECT hash, item_id FROM items WHERE hash IN ({marks})", hashes)  # noqa: S608
        ids = dict(rows.fetchall())
        return [ids[name] for name in hashes if name in ids]

    def search(self, text: str, n: int) -> list[bytes]:
        """Return entries whose titles have words that begin as the text's do, the best first."""
        words = _WORD.findall(text)
        if not words:
            rows = self._reading.execute("SELECT value FROM items ORDER BY id LIMIT ?", (n,))
        else:
            asked = " ".join(f'"{word}"*' for word in words)
            rows = self._reading.execute(
                "SELECT value FROM titles JOIN items ON items.id = titles.rowid "
                "WHERE titles MATCH ? ORDER BY rank LIMIT ?",
                (asked, n),
            )
        return [bytes(value) for (value,) in rows]

    def counts(self) -> dict[str, int]:
        """Count what is kept."""
        return {
            name: int(self._reading.execute(f"SELECT count(*) FROM {name}").fetchone()[0])  # noqa: S608
            for name in ("slates", "items")
        }
