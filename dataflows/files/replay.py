"""Writes a file's messages to a topic, at a pace: as fast as possible, steadily, or as they once happened."""

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from dataflows.errors import EddyError
from dataflows.files.topics import ENDINGS, open_lines, read_line

TIMES = ("timestamp", "requested_at")
"""Fields that say when a message happened."""


class ReplayError(EddyError):
    """A file cannot be replayed; the text says which line is at fault, and why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to write."""

    key: str | bytes | None
    value: bytes | None
    """None is a tombstone."""
    at_ms: int | None = None
    """When it happened, Unix milliseconds; none: it has no time of its own."""


def read_events(path: Path) -> Iterator[bytes]:
    """Give the lines of a `.jsonl` or `.jsonl.gz` file without their ends, blank ones too, so that they can be counted.

    Raises
    ------
    ReplayError : the file is missing, of another kind, or not a whole gzip file.
    """
    if not path.name.endswith(ENDINGS):
        raise ReplayError(f"{path}: only {' and '.join(ENDINGS)} files can be replayed, a message a line")
    try:
        with open_lines(path) as lines:
            for line in lines:
                yield line.rstrip(b"\r\n")
    except (EOFError, gzip.BadGzipFile) as error:
        raise ReplayError(f"{path} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error.strerror}") from error


def keyed(lines: Iterable[bytes], key_field: str) -> Iterator[Message]:
    """Turn lines into messages; the line of a removed key, `{"key":"...","deleted":true}`, becomes a tombstone.

    Parameters
    ----------
    key_field : the field that is the topic's key, `user_id` for events and `item_id` for the catalog.

    Raises
    ------
    ReplayError : a line has no key. The lines before it have been given.
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
        raise ReplayError(f"line {number} is not JSON: {error}") from error
    key = row.get(key_field) if isinstance(row, dict) else None
    if not isinstance(key, str):
        raise ReplayError(f"line {number} has no text in {key_field}, which is the topic's key")
    times = [row[name] for name in TIMES if isinstance(row.get(name), int)]
    return Message(key, value, times[0] if times else None)


class Pace(Protocol):
    """Says when a message is due."""

    def due_s(self, k: int, elapsed_ms: int) -> float:
        """Return seconds after the start at which a message is due.

        Parameters
        ----------
        k : the message's place, from 0.
        elapsed_ms : how long after the first message it happened, 0 where no time is known.
        """


@dataclass(frozen=True)
class AsFastAsPossible:
    """Each message is due at once."""

    def due_s(self, k: int, elapsed_ms: int) -> float:  # noqa: ARG002 - the protocol names it
        """Return 0."""
        return 0.0


@dataclass(frozen=True)
class Steady:
    """The same number of messages every second."""

    rate: float
    """Messages a second, above 0."""

    def due_s(self, k: int, elapsed_ms: int) -> float:  # noqa: ARG002 - the protocol names it
        """Return the time of the k-th message."""
        return k / self.rate


@dataclass(frozen=True)
class SpeedUp:
    """As the messages once happened, only faster; one that is out of order is due at once."""

    factor: float
    """1 is their own speed, 60 puts an hour into a minute; above 0."""

    def due_s(self, k: int, elapsed_ms: int) -> float:  # noqa: ARG002 - the protocol names it
        """Return the message's own time after the start, shortened."""
        return elapsed_ms / 1_000 / self.factor


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
    ReplayError : from `messages`. What was read before it has been delivered.
    EddyError : from the writer, when a message was not delivered.
    """
    progress = _Progress(clock, on_progress, progress_s)
    first_ms: int | None = None
    try:
        for k, message in enumerate(messages):
            if first_ms is None:
                first_ms = message.at_ms
            elapsed_ms = 0 if message.at_ms is None or first_ms is None else message.at_ms - first_ms
            progress.wait_until(pace.due_s(k, elapsed_ms), sleep)
            writer.write(message.key, message.value)
            progress.count(message)
    except ReplayError:
        writer.flush()
        raise
    writer.flush()
    return progress.report()


class _Progress:
    """Counts what was sent, and tells of it now and then."""

    def __init__(self, clock: Callable[[], float], on_progress: Callable[[Sent], None], every_s: float) -> None:
        self._clock = clock
        self._on_progress = on_progress
        self._every_s = every_s
        self._started = clock()
        self._next_s = every_s
        self._n_messages = 0
        self._n_bytes = 0

    def wait_until(self, due_s: float, sleep: Callable[[float], None]) -> None:
        """Sleep until a message is due, and tell of the progress while it is not."""
        now = self._tell()
        while now < due_s:
            sleep(min(due_s, self._next_s) - now)
            now = self._tell()

    def count(self, message: Message) -> None:
        self._n_messages += 1
        self._n_bytes += len(message.value or b"")

    def report(self) -> Sent:
        sent = Sent(self._n_messages, self._n_bytes, self._clock() - self._started)
        self._on_progress(sent)
        return sent

    def _tell(self) -> float:
        """Report if it is time to; returns the seconds since the start."""
        now = self._clock() - self._started
        if now >= self._next_s:
            self.report()
            self._next_s = now + self._every_s
        return now
