"""Copies topics to files as they are written: what is audited, and what undisturbed flows read afterwards."""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from dataflows.errors import EddyError
from dataflows.files.source import FileSource, read_whole
from dataflows.kafka.admin import Client
from dataflows.kafka.reader import Batch, Follower, KafkaReader
from dataflows.records import Record


class Recorder:
    """Follows topics from their beginning and writes each to a file, so that none has to be read whole at the end.

    Parameters
    ----------
    prefix : of the topics' names; the files' names go without it.
    topics : their names, without the prefix.
    heard : topics that are only listened to.
    folder : made where it is missing.
    """

    def __init__(self, client: Client, prefix: str, topics: Iterable[str], heard: Iterable[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._prefix = prefix
        self.folder = folder
        self._files: dict[str, BinaryIO] = {topic: (folder / f"{topic}.jsonl").open("wb") for topic in topics}
        names = sorted({*self._files, *heard})
        self.heard_at = dict.fromkeys(names, time.monotonic())
        """When the last record of each topic came, on the monotonic clock."""
        self.n_heard = Counter(dict.fromkeys(names, 0))
        """Records by topic."""
        reader = KafkaReader(client, [prefix + topic for topic in names], "eddy-recorder")
        self._follower = Follower(reader, self._take, "recorder")

    def wait_until_quiet(self, quiet_s: float, deadline_s: float = 3_600.0) -> None:
        """Wait until nothing has come for so long.

        Raises
        ------
        EddyError : messages keep coming, or the topics cannot be read.
        """
        started = time.monotonic()
        while time.monotonic() - max(started, *self.heard_at.values()) < quiet_s:
            self._follower.check()
            if time.monotonic() - started > deadline_s:
                raise EddyError(f"after {deadline_s:.0f} s messages are still coming")
            time.sleep(0.1)

    def close(self) -> None:
        """Stop following; what was written is in the files."""
        self._follower.close()
        for file in self._files.values():
            file.close()

    def records(self, topic: str) -> Iterable[Record]:
        """Read what was recorded of a topic, a partition's records in their order."""
        for records in read_whole(FileSource(self.folder, topic)):
            yield from records

    def _take(self, batches: list[Batch]) -> None:
        for topic, _, records in batches:
            name = topic.removeprefix(self._prefix)
            self.heard_at[name] = time.monotonic()
            self.n_heard[name] += len(records)
            if name in self._files:
                self._files[name].write(b"".join((record.value or b"") + b"\n" for record in records))
