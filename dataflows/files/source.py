"""File topics as sources: a folder of JSON-lines files in place of a cluster, for offline use.

A topic is read from `<topic>.jsonl`, `<topic>.jsonl.gz` or all such files in `<topic>/`, a message a line.
"""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dataflows.files.lines import ENDINGS, FileError, open_lines, read_line, unpack_line
from dataflows.records import Record


@dataclass(frozen=True)
class FileSource(FixedPartitionedSource[Record, tuple[int, int]]):
    """All files of one topic, each read once to its end.

    A record's partition is its file's number in the order of names, its offset the line's number from 0, its
    time that of the file's last change, and its key is None. The state of a file is (next line, next byte).
    """

    folder: Path
    topic: str
    stop: Callable[[], bool] = lambda: False
    """Once true, every file ends early and the flow drains."""
    before_snapshot: Callable[[], None] = lambda: None
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
        FileError : there is none and the topic is not optional, or it lies there in more than one form.
        """
        inside = sorted(path for path in (self.folder / self.topic).glob("*") if path.name.endswith(ENDINGS))
        single = [path for ending in ENDINGS if (path := self.folder / f"{self.topic}{ending}").is_file()]
        names = [path.name for path in single] + ([f"{self.topic}/"] if inside else [])
        if len(names) > 1:
            raise FileError(f"{self.folder}: {' and '.join(names)} are the same topic, keep one of them")
        if not names and not self.optional:
            raise FileError(
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
            raise FileError(f"{path} is shorter than when the flow stopped: put the whole file back")

    def next_batch(self) -> list[Record]:
        """Return the next lines, at most `batch_size`. Blank lines count, but are no messages."""
        if self._source.stop():
            raise StopIteration
        try:
            lines = list(islice(self._file, self._source.batch_size))
        except (EOFError, gzip.BadGzipFile) as error:
            raise FileError(f"{self._path} is not a whole gzip file: {error}") from error
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
            raise FileError(f"{self._path}: a line is not a packed message: {error}") from error

    def snapshot(self) -> tuple[int, int]:
        """Return the next line and the byte, uncompressed, at which it begins."""
        self._source.before_snapshot()
        return self._line, self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_whole(source: FileSource) -> Iterator[list[Record]]:
    """Read a topic to its end, batch by batch."""
    for name in source.list_parts():
        part = source.build_part("read", name, None)
        try:
            while True:
                yield part.next_batch()
        except StopIteration:
            continue
        finally:
            part.close()
