"""What the door answers from, whoever keeps it: each user's newest slate, and the catalog with its titles."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

from dataflows.errors import EddyError

Offsets: TypeAlias = dict[int, int]
"""By partition: the next offset to read."""
Place: TypeAlias = tuple[str, int]
"""A topic and a partition."""
Kind: TypeAlias = Literal["slates", "items"]

MAX_WORD = 256
"""Characters of a word that count."""
_WORD = re.compile(r"\w+")


class TopicRow(NamedTuple):
    """What one record says of a user's slate or of an item."""

    offset: int
    key: str
    """The user's id, or the item's."""
    value: bytes | None
    """The slate or the item as JSON; None forgets it."""
    title: str = ""
    """An item's words, to be searched."""


class TopicPart(NamedTuple):
    """Rows of one partition, in their order."""

    kind: Kind
    topic: str
    partition: int
    rows: list[TopicRow]
    next: int
    """The offset after the last record that was read, whether or not that is a row."""


class LostStoreError(EddyError):
    """The store cannot be reached, or refuses its work; it may be better later. The text holds no secret."""


class WentBackError(Exception):
    """The store knows less than this door has seen it keep: it was emptied, or has lost its last writes."""


class ReadModel(Protocol):
    """A copy of the newest slates and of the catalog, which goes on where it stopped.

    One thread keeps; others read meanwhile. Several doors may share one: each record counts once, whoever brings it
    first, and a door that lags never puts an older slate in place of a newer one.
    """

    is_local: bool
    """Whether reading takes microseconds, so that nobody has to be waited for."""

    def prepare(self) -> None:
        """Make what is missing; raises `LostStoreError`, as all below do where the store does not answer."""

    def ping(self) -> None:
        """Ask whether the store answers."""

    def resume(self, kind: Kind, topic: str, topic_id: str | None) -> Offsets:
        """Return where to go on in a topic.

        All of it is read anew where it is another topic of its name, and what came of the one before goes; None: nobody
        knows which it is, so it is taken for the same.
        """

    def rewind(self, topic: str, partition: int, at: int) -> None:
        """Take records of a partition from an offset on again, since its log has lost them and counts anew."""

    def keep(self, parts: list[TopicPart]) -> None:
        """Put rows, and how far each partition has been read, into the store at once; all of it or nothing.

        Of no parts, it only looks whether the store still has what it had.

        Raises
        ------
        WentBackError : the store has lost what was there: `resume` says where to read on.
        """

    def slate(self, user_id: str) -> bytes | None:
        """Return a user's newest slate as it stands on the topic."""

    def items(self, item_ids: list[str]) -> list[bytes]:
        """Return the entries that are known of these items."""

    def items_by_hash(self, hashes: list[int]) -> list[str]:
        """Return the ids of the items with these hashes, in their order; unknown ones are left out."""

    def search(self, text: str, n: int) -> list[bytes]:
        """Return entries whose titles have words that begin as the text's do, the best first; of no words, any."""

    def counts(self) -> dict[str, int]:
        """Count what is kept: `slates` and `items`."""

    def close(self) -> None:
        """Let go of the store."""


class Progress:
    """How far a door has seen its store come, by which it is told when the store goes back."""

    def __init__(self) -> None:
        self._seen: dict[Place, int] = {}

    def resumed(self, topic: str, offsets: Offsets) -> None:
        """Note what the store says of a topic; what was seen of it before no longer counts."""
        self._seen = {place: at for place, at in self._seen.items() if place[0] != topic}
        self._seen |= {(topic, partition): at for partition, at in offsets.items()}

    def new_rows(
        self, parts: list[TopicPart], stored: Mapping[Place, int]
    ) -> list[tuple[TopicPart, dict[str, TopicRow]]]:
        """Choose what the store does not have yet: of each part the newest row of each key.

        Parameters
        ----------
        stored : what the store says now of every place, in the transaction that the rows are written in.

        Raises
        ------
        WentBackError : it says less than was seen.
        """
        if any(stored.get(place, 0) < at for place, at in self._seen.items()):
            raise WentBackError
        found = []
        for part in parts:
            known = stored.get((part.topic, part.partition), 0)
            if part.next > known:
                found.append((part, {row.key: row for row in part.rows if row.offset >= known}))
        return found

    def kept(self, parts: list[TopicPart], stored: Mapping[Place, int]) -> None:
        """Note what the store has now; called once it has said so."""
        for part in parts:
            place = (part.topic, part.partition)
            self._seen[place] = max(part.next, stored.get(place, 0))

    def rewound(self, topic: str, partition: int, at: int) -> None:
        """Note that a partition is taken from an offset on again."""
        self._seen[topic, partition] = at


def words_of(text: str) -> list[str]:
    """Split a text into its distinct words as they are compared: in small letters, without accents, sorted."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return sorted({word[:MAX_WORD] for word in _WORD.findall(plain.casefold())})


def split(rows: Iterable[TopicRow]) -> tuple[list[tuple[TopicRow, bytes]], list[str]]:
    """Tell rows that are kept, with their values, from keys that are forgotten."""
    rows = list(rows)
    kept = [(row, row.value) for row in rows if row.value is not None]
    return kept, [row.key for row in rows if row.value is None]
