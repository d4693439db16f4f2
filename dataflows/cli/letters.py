"""Dead letters on their way back: the original messages, by the topic that they came from."""

from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from dataflows.files.replay import Message
from dataflows.records import Record
from models.messages import DeadLetter


class Unpacked(NamedTuple):
    """What dead letters hold."""

    messages: dict[str, list[Message]]
    """By source topic, without the installation's prefix; those of one source partition in their old order."""
    left_out: list[str]
    """What could not be unpacked: where each lies, and why."""


def originals(letters: Iterable[Record], topic: str | None = None, reason: str | None = None) -> Unpacked:
    """Unpack dead letters into the messages that they hold, byte for byte.

    A record that is no letter, and a letter that holds only the beginning of its message, keep nobody else's from
    being unpacked: they are left out, and named.

    Parameters
    ----------
    topic, reason : only letters of this source topic, and of this reason.
    """
    decode = msgspec.json.Decoder(DeadLetter).decode
    found: defaultdict[str, list[tuple[int, int, Message]]] = defaultdict(list)
    left_out = []
    letters = list(letters)
    taken_away = {record.key for record in letters if record.value is None}
    for record in letters:
        if record.key in taken_away and record.key is not None:
            continue  # its user was erased
        try:
            letter = decode(record.value or b"")
            message = Message(None if letter.key is None else b64decode(letter.key), _payload(letter))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            left_out.append(f"dead-letters/{record.partition}, offset {record.offset}, is no dead letter: {error}")
            continue
        if topic not in (None, letter.topic) or reason not in (None, letter.reason):
            continue
        if letter.original is not None:
            left_out.append(
                f"{letter.topic}/{letter.partition}, offset {letter.offset}: the letter holds only the beginning of "
                f"its {letter.original.value_bytes:,} bytes; while the topic keeps the message, it can be read there"
            )
            continue
        found[letter.topic].append((letter.partition, letter.offset, message))
    messages = {
        name: [message for _, _, message in sorted(numbered, key=lambda entry: entry[:2])]
        for name, numbered in sorted(found.items())
    }
    return Unpacked(messages, left_out)


def _payload(letter: DeadLetter) -> bytes | None:
    """Return the original value; the one reason `empty` stands for a message that had none."""
    return None if letter.reason == "empty" else b64decode(letter.payload)
