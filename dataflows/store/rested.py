"""Which keys of a store have rested, looked up beside the flow that writes to it.

`python -m dataflows.store.rested FOLDER STEP BEFORE_MS` prints a JSON line a key, its name and when its state was
written last. It has to be a process of its own: locks on a file belong to a process, and the engine brings an SQLite
that knows nothing of Python's. What Python opens and closes within the flow takes the engine's locks away and cuts the
index of the write-ahead log under its feet: the next large snapshot ended the flow, and others thought the store free.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

from dataflows.store.files import open_file, partition_files

AT_ONCE = 500
"""Keys of a page."""


def rested(folder: Path, step_id: str, before_ms: int) -> Iterator[tuple[str, int]]:
    """List the keys of a step whose states were written last before a time, Unix ms, and when; not those discarded.

    Raises
    ------
    sqlite3.Error : a file cannot be read.
    """
    for path in partition_files(folder):
        with closing(open_file(path, whole=False)) as file:
            for key, written_at, _ in file.execute(
                "SELECT state_key, 1000 * strftime('%s', created_at) AS written_at, max(snap_epoch) FROM snaps "
                "WHERE step_id = ? GROUP BY state_key HAVING ser_change IS NOT NULL AND written_at < ?",
                (step_id, before_ms),
            ):
                yield key, written_at


def look_up(folder: Path, step_id: str, before_ms: int) -> Iterator[list[tuple[str, int]]]:
    """Let a process of its own look; returns at once, and an empty page as long as it looks.

    Raises
    ------
    OSError : it could not be started, or ended with an error.
    """
    # Beside the store: what is in it says who is a user.
    with TemporaryFile(dir=folder) as found, TemporaryFile(dir=folder) as said:
        command = [sys.executable, "-m", "dataflows.store.rested", str(folder), step_id, str(before_ms)]
        process = subprocess.Popen(  # noqa: S603 - of our own words
            command, stdin=subprocess.DEVNULL, stdout=found, stderr=said
        )
        try:
            while process.poll() is None:
                yield []
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            said.seek(0)
            why = said.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise OSError(f"{folder}: the look ended with exit code {process.returncode}: {why}")
        found.seek(0)
        while lines := list(islice(found, AT_ONCE)):
            yield [(key, at) for key, at in map(json.loads, lines)]


if __name__ == "__main__":
    for entry in rested(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])):
        sys.stdout.write(json.dumps(entry) + "\n")
