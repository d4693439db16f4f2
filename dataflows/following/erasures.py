"""Who asked to be forgotten, and when: every flow knows all of it before it reads its first message, and follows it.

A message of theirs from before the request is left out wherever it comes up: behind a lag, out of a topic that is read
again because a store was lost, from an older copy of a store. So an erasure outlives the state that it erased.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client
from dataflows.kafka.reader import Batch, Follower, KafkaReader
from dataflows.records import Record
from models.messages import DeadLetter, Erasure, Event
from models.numeric.ids import hash64
from models.pseudonyms import StateKeys

log = logging.getLogger(__name__)

MAX_ERASED = 1_000_000
"""Users who are known to be erased at most; some 300 bytes each, twice as many with each secret."""

Decode = Callable[[list[Record]], list[Erasure | DeadLetter]]


class Erased(NamedTuple):
    """An erasure on its way to what is kept of its user."""

    key: str
    """The user's state key."""
    user: int
    """Its hash."""
    users: tuple[int, ...]
    """Hashes of all keys that the user has had, that of the id included."""
    erasure_id: str
    requested_at: int


class Erasures:
    """The newest erasure of each user, by state key.

    Parameters
    ----------
    keys : what stands for a user.
    counts : `erasures_dropped` is added to it: those that were let go because there were more than `limit`.
    limit : users known at most; of more, those who asked longest ago are let go.
    """

    def __init__(
        self, keys: StateKeys | None = None, counts: Counter[str] | None = None, limit: int = MAX_ERASED
    ) -> None:
        self.keys = keys or StateKeys()
        self.version = 0
        """Rises with each erasure."""
        self._counts = Counter() if counts is None else counts
        self._limit = limit
        self._until: dict[str, int] = {}
        self._until_by_hash: dict[int, int] = {}

    def note(self, user_id: str, requested_at: int) -> None:
        """Take an erasure: from now on it holds under every key that the user may have had."""
        for key in self.keys.every(user_id):
            self.note_key(key, requested_at)

    def note_key(self, key: str, requested_at: int) -> None:
        """Take an erasure of which only the key is known."""
        if requested_at <= self._until.get(key, 0):
            return
        self._until[key] = self._until_by_hash[hash64(key)] = requested_at
        self.version += 1
        if len(self._until) > self._limit:
            self._let_go()

    def _let_go(self) -> None:
        """Let a tenth of them go at a time, those who asked longest ago."""
        oldest = sorted(self._until, key=self._until.__getitem__)[: max(1, self._limit // 10)]
        for key in oldest:
            del self._until[key]
            self._until_by_hash.pop(hash64(key), None)
        self._counts["erasures_dropped"] += len(oldest)
        log.warning("%d erasures are more than are kept: raise EDDY_PRIVACY__MAX_ERASED", len(oldest) + self._limit)

    @property
    def known(self) -> set[str]:
        """State keys of all users who are known to be erased."""
        return set(self._until)

    def until(self, key: str) -> int:
        """Return when the user of a state key asked last to be forgotten, Unix ms; 0: never."""
        return self._until.get(key, 0)

    def until_hash(self, user: int) -> int:
        """Return the same for the hash of a state key, which is all that some places keep."""
        return self._until_by_hash.get(user, 0)

    def covers(self, key: str, at: int, written_at: int) -> bool:
        """Tell whether a message was made or written before its user asked to be forgotten.

        Both count: a device whose clock runs ahead dates what it sends later than it is.
        """
        return bool(self._until) and min(at, written_at) <= self._until.get(key, 0)

    def take(self, messages: Iterable[Erasure | DeadLetter]) -> None:
        """Take erasures as they were decoded; `recommend` writes the dead letters."""
        for message in messages:
            if isinstance(message, Erasure):
                self.note(message.user_id, message.requested_at)


def known_events(
    decode: Callable[[list[Record]], list[Event | DeadLetter]],
    records: list[Record],
    erasures: Erasures,
    counts: Counter[str],
) -> Iterator[tuple[Event, Record]]:
    """Decode events, each with its record; those that are bad, or older than their users' erasures, are only counted.

    From here on users are called by their state keys.
    """
    for message, record in zip(decode(records), records, strict=True):
        if isinstance(message, DeadLetter):
            counts[message.reason] += 1
            continue
        key = erasures.keys(message.user_id)
        if erasures.covers(key, message.timestamp, record.timestamp):
            counts["before_erasure"] += 1
        else:
            yield (message if key == message.user_id else replace(message, user_id=key)), record


@contextmanager
def followed_erasures(
    client: Client,
    topic: str,
    group: str,
    decode: Decode,
    erasures: Erasures,
    on_failure: Callable[[EddyError], None],
) -> Iterator[None]:
    """Take in all erasures that there are, then follow the topic on a thread of its own until the context ends.

    Parameters
    ----------
    on_failure : given what ended the thread: to go on without erasures would be to bring people back.

    Raises
    ------
    EddyError : the topic cannot be read at first.
    """

    def take(batches: list[Batch]) -> None:
        for batch in batches:
            erasures.take(decode(batch.records))

    follower = Follower(KafkaReader(client, [topic], group), take, "erasures", on_failure)
    try:
        follower.wait_until_complete()
        yield
    finally:
        follower.close()
