"""The read model in Redis, which several doors may share."""

from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, WatchError
from redis.retry import Retry

from dataflows.serve.read_models.addresses import TIMEOUT_S, StoreAddress
from dataflows.serve.read_models.contract import (
    Kind,
    LostStoreError,
    Offsets,
    Place,
    Progress,
    TopicPart,
    TopicRow,
    split,
    words_of,
)
from models.numeric.ids import hash64

R = TypeVar("R")

MAX_FOUND = 10_000
"""Words of titles that are looked at for one search."""
_BETWEEN = b"\0"
"""Stands between a word and the item that has it, and before all letters."""


class RedisModel:
    """Keeps slates and items in hashes, words of titles in a sorted set, and offsets in a hash that is watched.

    All keys have one hash tag, so that a transaction may span them.

    Parameters
    ----------
    url : of the server; may hold a password.
    prefix : of the installation's topics: each has keys of its own.
    """

    is_local = False

    def __init__(self, url: str, prefix: str) -> None:
        self._address = StoreAddress(url)
        self._progress = Progress()
        self._slates, self._items, self._hashes, self._titles, self._words, self._ids, self._positions = (
            f"{{eddy:{prefix}}}:{name}" for name in ("slates", "items", "hashes", "titles", "words", "ids", "positions")
        )
        try:
            # A connection that the server has closed meanwhile fails once, and is made anew.
            self._client: Any = Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),
                decode_responses=False,
            )
        except (ValueError, TypeError) as error:
            raise LostStoreError(self._address.unreachable(error)) from None

    def _ask(self, work: Callable[[], R]) -> R:
        try:
            return work()
        except (RedisError, OSError, TypeError) as error:  # of what a URL asks, a connection is the first to learn
            raise LostStoreError(self._address.unreachable(error)) from None

    def prepare(self) -> None:
        """Refuse a server that throws away what it likes, since nobody would be told."""

        def policy() -> tuple[int, str]:
            try:
                about = self._client.info("memory")
            except NoPermissionError:
                return 0, ""
            return int(about.get("maxmemory", 0)), str(about.get("maxmemory_policy", ""))

        limit, name = self._ask(policy)
        if limit and name.startswith("allkeys"):
            raise LostStoreError(
                f"{self._address} evicts any key when its memory is full (maxmemory-policy {name}), so slates would go "
                "unseen: set it to noeviction or to a volatile one, or take another server"
            )
        self._ask(self._client.ping)

    def ping(self) -> None:
        """Ask whether the server answers."""
        self._ask(self._client.ping)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def resume(self, kind: Kind, topic: str, topic_id: str | None) -> Offsets:
        """Return where to go on in a topic."""

        def change(pipe: Any) -> Offsets:
            stored = pipe.hgetall(self._positions)
            known = stored.get(topic.encode())
            offsets = {partition: at for (name, partition), at in _positions(stored).items() if name == topic}
            pipe.multi()
            if known is not None and topic_id is not None and known != topic_id.encode():
                pipe.unlink(*([self._slates] if kind == "slates" else self._of_items()))
                if offsets:
                    pipe.hdel(self._positions, *(_place(topic, partition) for partition in offsets))
                offsets = {}
            if topic_id is not None:
                pipe.hset(self._positions, topic, topic_id)
            return offsets

        offsets = self._change(change)
        self._progress.resumed(topic, offsets)
        return offsets

    def rewind(self, topic: str, partition: int, at: int) -> None:
        """Take records of a partition from an offset on again."""
        self._ask(lambda: self._client.hset(self._positions, _place(topic, partition), at))
        self._progress.rewound(topic, partition, at)

    def keep(self, parts: list[TopicPart]) -> None:
        """Put rows and offsets into the server at once."""

        def change(pipe: Any) -> dict[Place, int]:
            stored = _positions(pipe.hgetall(self._positions))
            new = self._progress.new_rows(parts, stored)
            changed = [row for part, rows in new if part.kind == "items" for row in rows.values()]
            old = pipe.hmget(self._titles, [row.key for row in changed]) if changed else []
            pipe.multi()
            for row, title in zip(changed, old, strict=True):
                self._forget_words(pipe, row.key, title)
            for part, rows in new:
                (self._keep_slates if part.kind == "slates" else self._keep_items)(pipe, [*rows.values()])
                pipe.hset(self._positions, _place(part.topic, part.partition), part.next)
            return stored

        self._progress.kept(parts, self._change(change))

    def _change(self, change: Callable[[Any], R]) -> R:
        """Read and write in one transaction, again where another door was faster."""

        def work() -> R:
            with self._client.pipeline(transaction=True) as pipe:
                while True:
                    try:
                        pipe.watch(self._positions)
                        result = change(pipe)
                        pipe.execute()
                    except WatchError:
                        continue
                    return result

        return self._ask(work)

    def _of_items(self) -> list[str]:
        return [self._items, self._hashes, self._titles, self._words, self._ids]

    def _keep_slates(self, pipe: Any, rows: list[TopicRow]) -> None:
        kept, gone = split(rows)
        if kept:
            pipe.hset(self._slates, mapping={row.key: value for row, value in kept})
        if gone:
            pipe.hdel(self._slates, *gone)

    def _keep_items(self, pipe: Any, rows: list[TopicRow]) -> None:
        kept, gone = split(rows)
        for row, value in kept:
            words = words_of(row.title)
            pipe.hset(self._items, row.key, value)
            pipe.hset(self._hashes, str(hash64(row.key)), row.key)
            pipe.hset(self._titles, row.key, " ".join(words))
            pipe.zadd(self._ids, {row.key: 0})
            if words:
                pipe.zadd(self._words, {_entry(word, row.key): 0 for word in words})
        if gone:
            pipe.hdel(self._items, *gone)
            pipe.hdel(self._titles, *gone)
            pipe.hdel(self._hashes, *(str(hash64(item_id)) for item_id in gone))
            pipe.zrem(self._ids, *gone)

    def _forget_words(self, pipe: Any, item_id: str, title: bytes | None) -> None:
        if title:
            pipe.zrem(self._words, *(_entry(word, item_id) for word in title.decode().split(" ")))

    def slate(self, user_id: str) -> bytes | None:
        """Return a user's newest slate as it stands on the topic."""
        value: bytes | None = self._ask(lambda: self._client.hget(self._slates, user_id))
        return value

    def items(self, item_ids: list[str]) -> list[bytes]:
        """Return the entries that are known of these items."""
        return self._found(self._items, item_ids)

    def items_by_hash(self, hashes: list[int]) -> list[str]:
        """Return the ids of the items with these hashes, in their order; unknown ones are left out."""
        return [found.decode() for found in self._found(self._hashes, [str(name) for name in hashes])]

    def _found(self, name: str, keys: list[str]) -> list[bytes]:
        if not keys:
            return []
        found = self._ask(lambda: self._client.hmget(name, keys))
        return [value for value in found if value is not None]

    def search(self, text: str, n: int) -> list[bytes]:
        """Return entries whose titles have words that begin as the text's do, those with the fewest words first."""
        words = [word.encode() for word in words_of(text)]
        if not words:
            return self.items([found.decode() for found in self._ask(lambda: self._client.zrange(self._ids, 0, n - 1))])
        # By the rarest word, of which no more is read than has to be; what has the others is told by the whole titles.
        bounds = [(b"[" + word, b"[" + word + b"\xff") for word in words]
        numbers = [self._ask(lambda at=at: self._client.zlexcount(self._words, *at)) for at in bounds]  # type: ignore[misc]
        low, high = bounds[numbers.index(min(numbers))]
        entries = self._ask(lambda: self._client.zrangebylex(self._words, low, high, 0, MAX_FOUND))
        ids = sorted({entry.partition(_BETWEEN)[2].decode() for entry in entries})
        if not ids:
            return []
        titles = self._ask(lambda: self._client.hmget(self._titles, ids))
        found = [
            (len(own), item_id)
            for item_id, own in zip(ids, ((title or b"").split(b" ") for title in titles), strict=True)
            if all(any(part.startswith(word) for part in own) for word in words)
        ]
        return self.items([item_id for _, item_id in sorted(found)[:n]])

    def counts(self) -> dict[str, int]:
        """Count what is kept."""
        return {
            "slates": int(self._ask(lambda: self._client.hlen(self._slates))),
            "items": int(self._ask(lambda: self._client.hlen(self._items))),
        }


def _positions(stored: dict[bytes, bytes]) -> dict[Place, int]:
    """Read how far each place is; what has no partition is a topic's id."""
    places = {tuple(name.decode().split("/")): int(at) for name, at in stored.items() if b"/" in name}
    return {(topic, int(partition)): at for (topic, partition), at in places.items()}


def _place(topic: str, partition: int) -> str:
    return f"{topic}/{partition}"


def _entry(word: str, item_id: str) -> bytes:
    return word.encode() + _BETWEEN + item_id.encode()
