"""Dead letters on their way back: the original messages, by the topic that they came from."""

from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from dataflows.errors import EddyError
from dataflows.files.replay import Message
from dataflows.records import Record
from models.messages import DeadLetter


class LetterError(EddyError):
    """A dead letter cannot be read."""


def originals(
    letters: Iterable[Record], topic: str | None = None, reason: str | None = None
) -> dict[str, list[Message]]:
    """Unpack dead letters into the messages that they hold, byte for byte.

    Parameters
    ----------
    topic, reason : only letters of this source topic, and of this reason.

    Returns
    -------
    By source topic, without the installation's prefix; the messages of one source partition in their old order.

    Raises
    ------
    LetterError : a record is no dead letter.
    """
    decode = msgspec.json.Decoder(DeadLetter).decode
    found: defaultdict[str, list[tuple[int, int, Message]]] = defaultdict(list)
    for record in letters:
        try:
            letter = decode(record.value or b"")
            message = Message(None if letter.key is None else b64decode(letter.key), _payload(letter))
        except (msgspec.MsgspecError, ValueError) as error:
            where = f"dead-letters/{record.partition}, offset {record.offset}"
            raise LetterError(f"{where} is no dead letter: {error}") from error
        if topic in (None, letter.topic) and reason in (None, letter.reason):
            found[letter.topic].append((letter.partition, letter.offset, message))
    return {
        name: [message for _, _, message in sorted(numbered, key=lambda entry: entry[:2])]
        for name, numbered in sorted(found.items())
    }


def _payload(letter: DeadLetter) -> bytes | None:
    """Return the original value; the one reason `empty` stands for a message that had none."""
    return None if letter.reason == "empty" else b64decode(letter.payload)
