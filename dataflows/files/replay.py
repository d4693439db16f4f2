"""Writes a file's messages to a topic, at a pace: as fast as possible, steadily, or as they once happened."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import orjson

from dataflows.files.lines import FileError, read_line

TIMES = ("timestamp", "requested_at")
"""Fields that say when a message happened."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to write."""

    key: str | bytes | None
    value: bytes | None
    """None is a tombstone."""
    at_ms: int | None = None
    """When it happened, Unix milliseconds; none: it has no time of its own."""


def keyed_messages(lines: Iterable[bytes], key_field: str) -> Iterator[Message]:
    """Turn lines into messages; the line of a removed key, `{"key":"...","deleted":true}`, becomes a tombstone.

    Parameters
    ----------
    key_field : the field that is the topic's key, `user_id` for events and `item_id` for the catalog.

    Raises
    ------
    FileError : a line has no key. The lines before it have been given.
    """
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        removed, value = read_line(line)
        yield Message(removed.decode(), None) if removed is not None else _message(number, value or b"", key_field)


def _message(number: int, value: bytes, key_field: str) -> Message:
    try:
        row = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise FileError(f"line {number} is not JSON: {error}") from error
    key = row.get(key_field) if isinstance(row, dict) else None
    if not isinstance(key, str):
        raise FileError(f"line {number} has no text in {key_field}, which is the topic's key")
    times = [row[name] for name in TIMES if isinstance(row.get(name), int)]
    return Message(key, value, times[0] if times else None)


Pace: TypeAlias = Callable[[int, int], float]
"""Says how many seconds after the start a message is due, by its number from 0 and by how many milliseconds after the
first message it happened (0 where no time is known)."""


def as_fast_as_possible(_number: int, _elapsed_ms: int) -> float:
    """Let each message be due at once."""
    return 0.0


def steady(rate: float) -> Pace:
    """Write the same number of messages every second: `rate`, above 0."""
    return lambda number, _elapsed_ms: number / rate


def sped_up(factor: float) -> Pace:
    """Write messages as they once happened, only faster; one that is out of order is due at once.

    Parameters
    ----------
    factor : 1 is their own speed, 60 puts an hour into a minute; above 0.
    """
    return lambda _number, elapsed_ms: elapsed_ms / 1_000 / factor


class Writer(Protocol):
    """Where messages go: a `KafkaWriter`, or a list in a test."""

    def write(self, key: str | bytes | None, value: bytes | None) -> None:
        """Hand a message over; raises when an earlier one was not delivered."""

    def flush(self) -> None:
        """Wait until all is delivered; raises when something was not."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How far a replay has come."""

    n_messages: int
    n_bytes: int
    """Of the values."""
    seconds: float
    """Since the start."""


def replay(
    writer: Writer,
    messages: Iterable[Message],
    pace: Pace,
    on_progress: Callable[[Sent], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    progress_s: float = 0.5,
) -> Sent:
    """Write messages in their order, none before it is due.

    Parameters
    ----------
    on_progress : called about every `progress_s` seconds, also while the next message is not due yet, and at the end.
    clock, sleep : `time.monotonic` and `time.sleep`; seconds.

    Returns
    -------
    What was sent, all of it delivered.

    Raises
    ------
    FileError : from `messages`. What was read before it has been delivered.
    EddyError : from the writer, when a message was not delivered.
    """
    progress = _Progress(clock, on_progress, progress_s)
    first_ms: int | None = None
    try:
        for number, message in enumerate(messages):
            if first_ms is None:
                first_ms = message.at_ms
            elapsed_ms = 0 if message.at_ms is None or first_ms is None else message.at_ms - first_ms
            progress.wait_until(pace(number, elapsed_ms), sleep)
            writer.write(message.key, message.value)
            progress.count(message)
    except FileError:
        writer.flush()
        raise
    writer.flush()
    return progress.report()


class _Progress:
    """Counts what was sent, and reports it every so often."""

    def __init__(self, clock: Callable[[], float], on_progress: Callable[[Sent], None], every_s: float) -> None:
        self._clock = clock
        self._on_progress = on_progress
        self._every_s = every_s
        self._started = clock()
        self._next_s = every_s
        self._n_messages = 0
        self._n_bytes = 0

    def wait_until(self, due_s: float, sleep: Callable[[float], None]) -> None:
        """Sleep until a message is due, and report the progress while it is not."""
        now = self._report_if_due()
        while now < due_s:
            sleep(min(due_s, self._next_s) - now)
            now = self._report_if_due()

    def count(self, message: Message) -> None:
        self._n_messages += 1
        self._n_bytes += len(message.value or b"")

    def report(self) -> Sent:
        sent = Sent(self._n_messages, self._n_bytes, self._clock() - self._started)
        self._on_progress(sent)
        return sent

    def _report_if_due(self) -> float:
        """Report if it is time to; returns the seconds since the start."""
        now = self._clock() - self._started
        if now >= self._next_s:
            self.report()
            self._next_s = now + self._every_s
        return now
