"""The read model in PostgreSQL, which several doors may share."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from dataflows.serve.read_models.addresses import TIMEOUT_S, StoreAddress
from dataflows.serve.read_models.contract import (
    Kind,
    LostStoreError,
    Offsets,
    Place,
    Progress,
    TopicPart,
    TopicRow,
    WentBackError,
    split,
    words_of,
)
from models.numeric.ids import hash64

MAX_IDENTIFIER = 63
"""Bytes of a name that PostgreSQL tells apart."""
DEFAULTS: dict[str, Any] = {
    "connect_timeout": TIMEOUT_S,
    "keepalives_idle": TIMEOUT_S,
    "keepalives_interval": 1,
    "keepalives_count": TIMEOUT_S,
    "tcp_user_timeout": 1_000 * TIMEOUT_S,
    "application_name": "eddy serve",
}
"""How a connection learns that its server is lost, where the URL says nothing else."""

# Ids are bytes: a text of PostgreSQL cannot hold every id, and would be compared by a collation.
_SCHEMA: LiteralString = """
CREATE TABLE IF NOT EXISTS {s}.slates (user_id bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE IF NOT EXISTS {s}.items (
    item_id bytea PRIMARY KEY, hash bigint NOT NULL, value bytea NOT NULL, words tsvector NOT NULL
);
CREATE INDEX IF NOT EXISTS items_by_hash ON {s}.items (hash);
CREATE INDEX IF NOT EXISTS items_by_word ON {s}.items USING gin (words);
CREATE TABLE IF NOT EXISTS {s}.topics (topic text PRIMARY KEY, topic_id text);
CREATE TABLE IF NOT EXISTS {s}.offsets (
    topic text, partition int, next bigint NOT NULL, PRIMARY KEY (topic, partition)
)
"""

# All of it is on the topics as well, and a server that lost its last writes is seen to have gone back. A door that is
# frozen while it writes holds the others up no longer than that.
_BRIEFLY: LiteralString = (
    "SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '5s', true), "
    "set_config('idle_in_transaction_session_timeout', '30s', true)"
)


class PostgresModel:
    """Keeps slates and items in tables of a schema of their own; each thread that reads has its connection.

    Parameters
    ----------
    url : of the server; may hold a password.
    prefix : of the installation's topics: each has its schema, `eddy` or `eddy-PREFIX`.
    """

    is_local = False

    def __init__(self, url: str, prefix: str) -> None:
        self._address = StoreAddress(url)
        self._progress = Progress()
        self.schema = schema_of(prefix)
        try:
            self._options: dict[str, Any] = DEFAULTS | conninfo_to_dict(url)
        except psycopg.Error as error:
            raise LostStoreError(self._address.unreachable(error)) from None
        self._own = threading.local()
        self._lock = threading.Lock()
        self._open: set[psycopg.Connection[Any]] = set()

    def prepare(self) -> None:
        """Make schema and tables where they are missing; with the schema there, no right to make one is needed."""
        with self._changing() as connection:
            # Doors that start at the same time make them in turn.
            self._run(connection, "SELECT pg_advisory_xact_lock(%s)", [hash64(self.schema)])
            found = self._run(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", [self.schema])
            if found.fetchone() is None:
                self._run(connection, "CREATE SCHEMA {s}")
            made = self._run(connection, "SELECT count(*) FROM pg_tables WHERE schemaname = %s", [self.schema])
            if made.fetchone() != (4,):
                connection.execute(SQL(_SCHEMA).format(s=Identifier(self.schema)))

    def ping(self) -> None:
        """Ask whether the server answers."""
        self._read("SELECT 1")

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    def resume(self, kind: Kind, topic: str, topic_id: str | None) -> Offsets:
        """Return where to go on in a topic."""
        with self._changing() as connection:
            self._run(connection, "INSERT INTO {s}.topics VALUES (%s, NULL) ON CONFLICT DO NOTHING", [topic])
            self._lock_topics(connection, [topic])
            row = self._run(connection, "SELECT topic_id FROM {s}.topics WHERE topic = %s", [topic]).fetchone()
            known = None if row is None else row[0]
            if known is not None and topic_id is not None and known != topic_id:
                self._run(connection, "DELETE FROM {s}.offsets WHERE topic = %s", [topic])
                self._run(connection, "DELETE FROM {s}.slates" if kind == "slates" else "DELETE FROM {s}.items")
            self._run(connection, "UPDATE {s}.topics SET topic_id = %s WHERE topic = %s", [topic_id or known, topic])
            offsets = {partition: at for (name, partition), at in self._stored(connection).items() if name == topic}
        self._progress.resumed(topic, offsets)
        return offsets

    def rewind(self, topic: str, partition: int, at: int) -> None:
        """Take records of a partition from an offset on again."""
        with self._changing() as connection:
            self._lock_topics(connection, [topic])
            self._note(connection, topic, partition, at)
        self._progress.rewound(topic, partition, at)

    def keep(self, parts: list[TopicPart]) -> None:
        """Put rows and offsets into the tables in one transaction; of several doors, one at a time."""
        topics = sorted({part.topic for part in parts})
        with self._changing() as connection:
            self._run(connection, _BRIEFLY)
            self._lock_topics(connection, topics)
            stored = self._stored(connection)
            for part, rows in self._progress.new_rows(parts, stored):
                (self._keep_slates if part.kind == "slates" else self._keep_items)(connection, [*rows.values()])
                self._note(connection, part.topic, part.partition, part.next)
        self._progress.kept(parts, stored)

    def _lock_topics(self, connection: psycopg.Connection[Any], topics: list[str]) -> None:
        self._run(connection, "SELECT 1 FROM {s}.topics WHERE topic = ANY(%s) ORDER BY topic FOR UPDATE", [topics])

    def _stored(self, connection: psycopg.Connection[Any]) -> dict[Place, int]:
        rows = self._run(connection, "SELECT topic, partition, next FROM {s}.offsets")
        return {(topic, partition): at for topic, partition, at in rows}

    def _note(self, connection: psycopg.Connection[Any], topic: str, partition: int, at: int) -> None:
        self._run(
            connection,
            "INSERT INTO {s}.offsets VALUES (%s, %s, %s) "
            "ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
            [topic, partition, at],
        )

    def _keep_slates(self, connection: psycopg.Connection[Any], rows: list[TopicRow]) -> None:
        kept, gone = split(rows)
        self._run(
            connection,
            "INSERT INTO {s}.slates SELECT * FROM unnest(%s::bytea[], %s::bytea[]) "
            "ON CONFLICT (user_id) DO UPDATE SET value = excluded.value",
            [[row.key.encode() for row, _ in kept], [value for _, value in kept]],
        )
        self._run(connection, "DELETE FROM {s}.slates WHERE user_id = ANY(%s::bytea[])", [_bytes(gone)])

    def _keep_items(self, connection: psycopg.Connection[Any], rows: list[TopicRow]) -> None:
        kept, gone = split(rows)
        self._run(
            connection,
            "INSERT INTO {s}.items SELECT id, hash, value, words::tsvector "
            "FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[], %s::text[]) AS new (id, hash, value, words) "
            "ON CONFLICT (item_id) DO UPDATE SET value = excluded.value, words = excluded.words",
            [
                [row.key.encode() for row, _ in kept],
                [hash64(row.key) for row, _ in kept],
                [value for _, value in kept],
                [" ".join(map(_lexeme, words_of(row.title))) for row, _ in kept],
            ],
        )
        self._run(connection, "DELETE FROM {s}.items WHERE item_id = ANY(%s::bytea[])", [_bytes(gone)])

    def slate(self, user_id: str) -> bytes | None:
        """Return a user's newest slate as it stands on the topic."""
        rows = self._read("SELECT value FROM {s}.slates WHERE user_id = %s", [user_id.encode()])
        return rows[0][0] if rows else None

    def items(self, item_ids: list[str]) -> list[bytes]:
        """Return the entries that are known of these items."""
        rows = self._read("SELECT value FROM {s}.items WHERE item_id = ANY(%s::bytea[])", [_bytes(item_ids)])
        return [value for (value,) in rows]

    def items_by_hash(self, hashes: list[int]) -> list[str]:
        """Return the ids of the items with these hashes, in their order; unknown ones are left out."""
        rows = self._read("SELECT hash, item_id FROM {s}.items WHERE hash = ANY(%s::bigint[])", [hashes])
        ids = {name: item_id.decode() for name, item_id in rows}
        return [ids[name] for name in hashes if name in ids]

    def search(self, text: str, n: int) -> list[bytes]:
        """Return entries whose titles have words that begin as the text's do, those with the fewest words first."""
        words = words_of(text)
        if not words:
            rows = self._read("SELECT value FROM {s}.items ORDER BY item_id LIMIT %s", [n])
        else:
            rows = self._read(
                "SELECT value FROM {s}.items WHERE words @@ %s::tsquery ORDER BY length(words), item_id LIMIT %s",
                [" & ".join(f"{_lexeme(word)}:*" for word in words), n],
            )
        return [value for (value,) in rows]

    def counts(self) -> dict[str, int]:
        """Count what is kept."""
        [(slates, items)] = self._read("SELECT (SELECT count(*) FROM {s}.slates), (SELECT count(*) FROM {s}.items)")
        return {"slates": slates, "items": items}

    def _run(
        self, connection: psycopg.Connection[Any], statement: LiteralString, values: Sequence[Any] = ()
    ) -> psycopg.Cursor[Any]:
        return connection.execute(SQL(statement).format(s=Identifier(self.schema)), values, binary=True)

    def _read(self, statement: LiteralString, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        was_open = getattr(self._own, "connection", None) is not None
        for is_last in (not was_open, True):
            try:
                return self._run(self._connection(), statement, values).fetchall()
            except psycopg.Error as error:
                # A server that was started again has closed the connection: that is learned by using it.
                self._drop()
                if is_last:
                    raise LostStoreError(self._address.unreachable(error)) from None
        raise AssertionError

    @contextmanager
    def _changing(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            connection = self._connection()
            with connection.transaction():
                yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            raise WentBackError from None
        except psycopg.Error as error:
            self._drop()
            raise LostStoreError(self._address.unreachable(error)) from None

    def _connection(self) -> psycopg.Connection[Any]:
        """Return this thread's connection."""
        connection: psycopg.Connection[Any] | None = getattr(self._own, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg.connect(**self._options, autocommit=True)
            self._own.connection = connection
            with self._lock:
                self._open.add(connection)
        return connection

    def _drop(self) -> None:
        connection: psycopg.Connection[Any] | None = getattr(self._own, "connection", None)
        self._own.connection = None
        if connection is not None:
            with self._lock:
                self._open.discard(connection)
            connection.close()


def schema_of(prefix: str) -> str:
    """Name the schema of an installation; a prefix that is too long stands there by its hash."""
    name = f"eddy-{prefix}" if prefix else "eddy"
    return name if len(name) <= MAX_IDENTIFIER else f"eddy-{hash64(prefix)}"


def _bytes(ids: list[str]) -> list[bytes]:
    return [name.encode() for name in ids]


def _lexeme(word: str) -> str:
    """Write a word as it stands in a tsvector; it has neither quotes nor backslashes."""
    return f"'{word}'"
