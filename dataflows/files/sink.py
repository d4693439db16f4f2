"""File topics as sinks: a topic is written to `<topic>/00000.jsonl` and so on, a file a partition, a message a line."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dataflows.files.lines import FileError, pack_line, write_line
from dataflows.records import Outgoing


@dataclass(frozen=True)
class FileSink(FixedPartitionedSink[Outgoing, int]):
    """All files of one topic; the state of each is its length.

    A resumed flow cuts each file back to its snapshot and writes on: nothing is lost or there twice. A flow
    without a snapshot starts over and empties the files.
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
        FileError : the folder holds other files, which a reader would take for messages of this flow.
        """
        parts = [f"{partition:05d}" for partition in range(self.partitions)]
        found = {path.name for path in (self.folder / self.topic).glob("*")}
        others = found - {f"{part}.jsonl" for part in parts}
        if others:
            raise FileError(
                f"{self.folder / self.topic} holds {', '.join(sorted(others))}, which are not of these "
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
            raise FileError(
                f"{path} ends before byte {length}, up to which the recovery store knows it: put the file "
                "back, or remove the recovery store and start over"
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
