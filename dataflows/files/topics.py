"""File topics: a folder of JSON-lines files in place of a cluster, for offline use.

A topic is read from `<topic>.jsonl`, `<topic>.jsonl.gz` or all such files in `<topic>/`, a message
a line, and written to `<topic>/00000.jsonl` and so on, a file a partition. A removed key is the line
`{"key":"...","deleted":true}`. Messages that are no text, such as the rows of `model-updates`, are packed into lines
`{"key":"...","value":"<base64>"}`.
"""

import binascii
import gzip
import io
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast
from zlib import crc32

import orjson
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dataflows.errors import EddyError
from dataflows.records import Outgoing, Record

ENDINGS = (".jsonl", ".jsonl.gz")


class FileTopicError(EddyError):
    """A file topic is missing, ambiguous, or not what the recovery store remembers."""


def never() -> bool:
    """Say that nobody asks the flow to stop."""
    return False


def nothing() -> None:
    """Let every snapshot be written."""


@dataclass(frozen=True)
class FileSource(FixedPartitionedSource[Record, tuple[int, int]]):
    """All files of one topic, each read once to its end.

    A record's partition is its file's place in the order of names, its offset the line's number from 0, its
    time that of the file's last change, and its key is None. The state of a file is (next line, next byte).
    """

    folder: Path
    topic: str
    stop: Callable[[], bool] = never
    """Once true, every file ends early and the flow drains."""
    before_snapshot: Callable[[], None] = nothing
    """Called before each snapshot, which it prevents by raising."""
    optional: bool = False
    """Take a topic without any file as an empty one."""
    packed: bool = False
    """Whether the values are any bytes, packed into lines with their keys."""
    batch_size: int = 1_000

    def files(self) -> list[Path]:
        """Return the topic's files in the order of their names.

        Raises
        ------
        FileTopicError : there is none and the topic is not optional, or it lies there in more than one form.
        """
        inside = sorted(path for path in (self.folder / self.topic).glob("*") if path.name.endswith(ENDINGS))
        single = [path for ending in ENDINGS if (path := self.folder / f"{self.topic}{ending}").is_file()]
        names = [path.name for path in single] + ([f"{self.topic}/"] if inside else [])
        if len(names) > 1:
            raise FileTopicError(f"{self.folder}: {' and '.join(names)} are the same topic, keep one of them")
        if not names and not self.optional:
            raise FileTopicError(
                f"{self.folder} has no topic {self.topic}: it would be {self.topic}.jsonl, "
                f"{self.topic}.jsonl.gz, or such files in {self.topic}/"
            )
        return single or inside

    def list_parts(self) -> list[str]:
        """Name the partitions by file, so that a resumed flow finds each again after files were added."""
        return [str(path.relative_to(self.folder)) for path in self.files()]

    def build_part(
        self,
        step_id: str,  # noqa: ARG002
        for_part: str,
        resume_state: tuple[int, int] | None,
    ) -> "FileSourcePartition":
        """Open one file where its snapshot stands, or at its beginning."""
        path = self.folder / for_part
        return FileSourcePartition(self, path, self.files().index(path), resume_state or (0, 0))


class FileSourcePartition(StatefulSourcePartition[Record, tuple[int, int]]):
    """Reads one file, line by line."""

    def __init__(self, source: FileSource, path: Path, partition: int, resume_at: tuple[int, int]) -> None:
        self._source = source
        self._path = path
        self._partition = partition
        self._timestamp = path.stat().st_mtime_ns // 1_000_000
        self._line, self._position = resume_at
        self._file = open_lines(path)
        self._file.seek(max(0, self._position - 1))
        if self._position and not self._file.read(1):
            self._file.close()
            raise FileTopicError(f"{path} is shorter than when the flow stopped: put the whole file back")

    def next_batch(self) -> list[Record]:
        """Return the next lines, at most `batch_size`. Blank lines count, but are no messages."""
        if self._source.stop():
            raise StopIteration
        try:
            lines = list(islice(self._file, self._source.batch_size))
        except (EOFError, gzip.BadGzipFile) as error:
            raise FileTopicError(f"{self._path} is not a whole gzip file: {error}") from error
        if not lines:
            raise StopIteration
        first = self._line
        self._line += len(lines)
        self._position += sum(map(len, lines))
        partition, timestamp = self._partition, self._timestamp
        read = self._read_packed if self._source.packed else read_line
        return [
            Record(partition, number, timestamp, *read(line))
            for number, line in enumerate(lines, first)
            if not line.isspace()
        ]

    def _read_packed(self, line: bytes) -> tuple[bytes, bytes | None]:
        try:
            return unpack_line(line)
        except ValueError as error:
            raise FileTopicError(f"{self._path}: a line is not a packed message: {error}") from error

    def snapshot(self) -> tuple[int, int]:
        """Return the next line and the byte, uncompressed, at which it begins."""
        self._source.before_snapshot()
        return self._line, self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_lines(path: Path) -> BinaryIO:
    """Open a file for reading lines, uncompressed."""
    if path.suffix == ".gz":
        # A gzip file on its own decodes each line in Python.
        return cast("BinaryIO", io.BufferedReader(gzip.open(path), 1 << 16))
    return path.open("rb")


def read_line(line: bytes) -> tuple[bytes | None, bytes | None]:
    """Split a line into key and value: a message has no key here, a removed key has no value."""
    value = line.rstrip(b"\r\n")
    if b'"deleted"' not in value:
        return None, value
    try:
        row = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None, value
    match row:
        case {"key": str(key), "deleted": True} if len(row) == 2:
            return key.encode(), None
    return None, value


def write_line(message: Outgoing) -> bytes:
    """Return the line of one message."""
    if message.value is None:
        return orjson.dumps({"key": message.key, "deleted": True}, option=orjson.OPT_APPEND_NEWLINE)
    return message.value + b"\n"


def unpack_line(line: bytes) -> tuple[bytes, bytes | None]:
    """Split a packed line into key and value.

    Raises
    ------
    ValueError : it is none.
    """
    match orjson.loads(line):
        case {"key": str(key), "deleted": True}:
            return key.encode(), None
        case {"key": str(key), "value": str(value)}:
            try:
                return key.encode(), b64decode(value, validate=True)
            except binascii.Error as error:
                raise ValueError(f"the value of {key} is not base64: {error}") from error
    raise ValueError("it has no text in key and value")


def pack_line(message: Outgoing) -> bytes:
    """Return the packed line of one message: any bytes, and the key with them."""
    if message.value is None:
        return write_line(message)
    packed = {"key": message.key, "value": b64encode(message.value).decode()}
    return orjson.dumps(packed, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True)
class FileSink(FixedPartitionedSink[Outgoing, int]):
    """All files of one topic; the state of each is its length.

    A resumed flow cuts each file back to its snapshot and writes on: nothing is lost or there twice. A flow
    without a snapshot begins anew and empties the files.
    """

    folder: Path
    topic: str
    partitions: int = 1
    packed: bool = False
    """Whether the values are any bytes, to be packed into lines with their keys."""

    def list_parts(self) -> list[str]:
        """Name the partitions; zero-padded, since the engine orders names as text.

        Raises
        ------
        FileTopicError : the folder holds other files, which a reader would take for messages of this flow.
        """
        parts = [f"{partition:05d}" for partition in range(self.partitions)]
        found = {path.name for path in (self.folder / self.topic).glob("*")}
        strange = found - {f"{part}.jsonl" for part in parts}
        if strange:
            raise FileTopicError(
                f"{self.folder / self.topic} holds {', '.join(sorted(strange))}, which are not of these "
                f"{self.partitions} partitions: write to another folder, or remove them"
            )
        return parts

    def part_fn(self, item_key: str) -> int:
        """Route a key to its partition."""
        return crc32(item_key.encode()) % self.partitions

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "FileSinkPartition":  # noqa: ARG002
        """Open one file, cut back to its snapshot."""
        line_of = pack_line if self.packed else write_line
        return FileSinkPartition(self.folder / self.topic / f"{for_part}.jsonl", resume_state or 0, line_of)


class FileSinkPartition(StatefulSinkPartition[Outgoing, int]):
    """Appends to one file."""

    def __init__(self, path: Path, length: int, line_of: Callable[[Outgoing], bytes]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if path.stat().st_size < length:
            raise FileTopicError(
                f"{path} ends before byte {length}, up to which the recovery store knows it: put the file "
                "back, or remove the recovery store and begin anew"
            )
        os.truncate(path, length)
        self._length = self._safe = length
        self._line_of = line_of
        self._file = path.open("ab")

    def write_batch(self, values: list[Outgoing]) -> None:
        """Append a line a message, at once visible to readers."""
        lines = b"".join(map(self._line_of, values))
        self._file.write(lines)
        self._file.flush()
        self._length += len(lines)

    def snapshot(self) -> int:
        """Return the file's length, once the disk has it."""
        if self._safe != self._length:
            os.fsync(self._file.fileno())
            self._safe = self._length
        return self._length

    def close(self) -> None:
        """Close the file."""
        self._file.close()
