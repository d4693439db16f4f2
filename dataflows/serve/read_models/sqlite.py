"""The read model in one SQLite file, of one door alone."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflows.serve.read_models.contract import Kind, Offsets, Place, Progress, TopicPart, TopicRow, split
from models.numeric.ids import hash64

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


class SqliteModel:
    """Keeps slates and items in a file; the event loop reads it on a connection of its own.

    Parameters
    ----------
    file : where the copy is kept; made where it is missing.
    """

    is_local = True

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._progress = Progress()
        self._writing = self._connect(file)
        self._writing.execute("PRAGMA journal_mode = WAL")
        # All of it is on the topics as well: losing the last writes in a power cut costs reading them again.
        self._writing.execute("PRAGMA synchronous = NORMAL")
        self._writing.executescript(_SCHEMA)
        self._reading = self._connect(file)

    @staticmethod
    def _connect(file: Path) -> sqlite3.Connection:
        return sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def prepare(self) -> None:
        """Do nothing: a file is made when it is opened."""

    def ping(self) -> None:
        """Do nothing: a file always answers."""

    def close(self) -> None:
        """Close the file."""
        self._reading.close()
        self._writing.close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        # At once for writing, so that nobody writes between what is looked at and what is done.
        self._writing.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._writing.execute("ROLLBACK")
            raise
        self._writing.execute("COMMIT")

    def resume(self, kind: Kind, topic: str, topic_id: str | None) -> Offsets:
        """Return where to go on in a topic."""
        with self._changing():
            row = self._writing.execute("SELECT topic_id FROM topics WHERE topic = ?", (topic,)).fetchone()
            known = None if row is None else row[0]
            if known is not None and topic_id is not None and known != topic_id:
                self._writing.execute("DELETE FROM offsets WHERE topic = ?", (topic,))
                self._empty(kind)
            self._writing.execute("INSERT OR REPLACE INTO topics VALUES (?, ?)", (topic, topic_id or known))
        offsets = {partition: at for (name, partition), at in self._stored().items() if name == topic}
        self._progress.resumed(topic, offsets)
        return offsets

    def rewind(self, topic: str, partition: int, at: int) -> None:
        """Take records of a partition from an offset on again."""
        self._writing.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", (topic, partition, at))
        self._progress.rewound(topic, partition, at)

    def keep(self, parts: list[TopicPart]) -> None:
        """Put rows and offsets into the file at once."""
        with self._changing():
            stored = self._stored()
            for part, rows in self._progress.new_rows(parts, stored):
                (self._keep_slates if part.kind == "slates" else self._keep_items)([*rows.values()])
                position = (part.topic, part.partition, part.next)
                self._writing.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", position)
        self._progress.kept(parts, stored)

    def _stored(self) -> dict[Place, int]:
        rows = self._writing.execute("SELECT topic, partition, next FROM offsets")
        return {(topic, int(partition)): int(at) for topic, partition, at in rows}

    def _empty(self, kind: Kind) -> None:
        for table in ("slates",) if kind == "slates" else ("items", "titles"):
            self._writing.execute(f"DELETE FROM {table}")  # noqa: S608

    def _keep_slates(self, rows: list[TopicRow]) -> None:
        kept, gone = split(rows)
        self._writing.executemany("DELETE FROM slates WHERE user_id = ?", [(user_id,) for user_id in gone])
        self._writing.executemany(
            "INSERT OR REPLACE INTO slates VALUES (?, ?)", [(row.key, value) for row, value in kept]
        )

    def _keep_items(self, rows: list[TopicRow]) -> None:
        for item in rows:
            old = self._writing.execute("DELETE FROM items WHERE item_id = ? RETURNING id", (item.key,)).fetchone()
            if old is not None:
                self._writing.execute("DELETE FROM titles WHERE rowid = ?", old)
            if item.value is not None:
                row = self._writing.execute(
                    "INSERT INTO items (item_id, hash, value) VALUES (?, ?, ?)",
                    (item.key, hash64(item.key), item.value),
                )
                self._writing.execute("INSERT INTO titles (rowid, title) VALUES (?, ?)", (row.lastrowid, item.title))

    def slate(self, user_id: str) -> bytes | None:
        """Return a user's newest slate as it stands on the topic."""
        row = self._reading.execute("SELECT value FROM slates WHERE user_id = ?", (user_id,)).fetchone()
        return None if row is None else bytes(row[0])

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
