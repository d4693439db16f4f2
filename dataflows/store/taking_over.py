"""Takes a store from another copy of its flow that may still write to it: one that slept, or that has not noticed yet.

A copy that was replaced finds that out before its next snapshot. But a snapshot takes a while, and a copy may sleep in
the middle of it: when it goes on, it writes rows of its own and drops those that its heir would resume from. No
question asked beforehand keeps it from that. So whoever finds another copy alive goes on from a copy of the files, and
the other one writes to files that have no name any more.
"""

import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dataflows.run.recovery_store import make_folder
from dataflows.run.write_ahead import index_of, log_of
from dataflows.store.backup import back_up
from dataflows.store.files import TAKEN, StoreError, explained, partition_files

log = logging.getLogger(__name__)

PRESENT = "present-"
"""How the names of files begin that say who is alive."""
LOCK = "taking-over.lock"
"""In the store's folder; whoever holds it changes the files."""
WAIT_S = 60.0
"""How long to wait for another start that is at it."""


class Presence:
    """Says that a process works on a store, for as long as it lives: the system lets go of its lock when it ends.

    Parameters
    ----------
    folder : of the store; made where it is missing.

    Raises
    ------
    StoreError : the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"{PRESENT}{uuid.uuid4().hex}"
        self._file: IO[str] | None = None
        with explained(folder):
            make_folder(folder)
            new = folder / f".{self.name}"
            self._file = new.open("w")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                log.warning("%s: no locks there (%s): a copy that sleeps is not noticed", folder, error.strerror)
            new.rename(folder / self.name)

    def others(self, folder: Path) -> list[str]:
        """Name the processes that worked on the store before this one and are alive; forget those that are not."""
        own_at = (folder / self.name).stat().st_mtime_ns
        return [path.name for path in folder.glob(f"{PRESENT}*") if path.name != self.name and _is_alive(path, own_at)]

    def close(self) -> None:
        """Let go of the lock; the file is cleared away by whoever comes next."""
        if self._file is not None:
            self._file.close()


def _is_alive(path: Path, until_ns: int) -> bool:
    """Tell whether the process of a file is alive and was there by a moment; one that came later is our own peer."""
    try:
        with path.open("r+") as file:
            came_at = os.fstat(file.fileno()).st_mtime_ns
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return came_at <= until_ns
    except OSError:
        return False
    path.unlink(missing_ok=True)
    return False


def take_over(folder: Path) -> None:
    """Go on from a copy of a store's files, of one moment, which no other process has open.

    Cut off at any point, the next start ends it (`end_take_over`).

    Raises
    ------
    StoreError : the store is damaged, its disk is full, or another start is at it.
    """
    with alone(folder):
        put_in_place(folder)
        back_up(folder, folder / TAKEN, log.info)
        put_in_place(folder)


def end_take_over(folder: Path) -> None:
    """End what an earlier start has begun.

    Raises
    ------
    StoreError : the folder cannot be written, or another start is at it.
    """
    if any(folder.glob(f"{TAKEN}*")):
        with alone(folder):
            put_in_place(folder)


def put_in_place(folder: Path) -> None:
    """Give the copies the names of the files; those that others have open keep none."""
    taken = folder / TAKEN
    with explained(folder):
        for copied in partition_files(taken) if taken.exists() else []:
            name = folder / copied.name
            # Without its log a file is older than it was: so nothing may be read here before all are in place.
            log_of(name).unlink(missing_ok=True)
            index_of(name).unlink(missing_ok=True)
            copied.replace(name)
        for left in folder.glob(f"{TAKEN}*"):  # or a copy that was cut off, of what a person may ask to be forgotten
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only start of a flow that changes its store's files.

    Raises
    ------
    StoreError : another start is at it, and does not end.
    """
    with explained(folder), (folder / LOCK).open("w") as lock:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"{folder}: another start of the flow is taking the store over and has not ended for "
                        f"{WAIT_S:.0f} s: end that process, and start again"
                    ) from None
                time.sleep(0.1)
        yield
