"""Drops the rows of a store that newer ones supersede, beside the flow that writes to it.

The engine does that itself at each snapshot, and for it looks through all rows of the store, 1.5 us each, while the
flow waits: a second and a half for a million users, whoever has acted. So it is told to keep everything, and a process
of its own drops what need not be kept. Rows of a file are numbered as they are written, so what has come since the last
look is found at once, and only its keys can have older rows.

`python -m dataflows.store.sweeping FOLDER` does so until its standard input ends, as it does with the flow. It is a
process of its own for the reason that `dataflows.store.rested` says. It keeps its files open: opened anew by name, one
might just be taking another's place (`dataflows.store.taking_over`).
"""

import logging
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from itertools import chain, takewhile
from pathlib import Path

from dataflows.store.files import MAX_LAG, open_file, partition_files, resume_epoch_of

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""Between two looks whether an epoch has ended."""
HOLD_S = 0.02
"""For how long a file is held at most, and one key's rows: a snapshot would wait for it, five seconds at most."""
AGAIN_S = 10.0
"""After which a process that ended is started again."""
WAIT_MS = 30_000
"""How long to wait for a snapshot that is being written."""
CACHE_KB = 512
"""Of a file's pages that are kept; SQLite would keep four times as many, and a store may have 256 files."""
GOODBYE = b"\n"
"""What a flow that ends in order says before the standard input ends."""
LAST_S, END_S = 3.0, 5.0
"""How long the last sweep may take, of a flow that ends in order, and the process to end."""


class Sweeper:
    """A store's files, and how far each was looked through.

    Parameters
    ----------
    is_over : asked before each transaction; once true, the rest is left to whoever comes next.

    Raises
    ------
    sqlite3.Error : a file cannot be opened, or written.
    """

    def __init__(self, folder: Path, is_over: Callable[[], bool] = lambda: False) -> None:
        self._is_over = is_over
        self._held = ExitStack()
        self._files = [
            self._held.enter_context(closing(open_file(path, writable=True))) for path in partition_files(folder)
        ]
        for file in self._files:
            file.execute(f"PRAGMA busy_timeout = {WAIT_MS:d}")
            file.execute(f"PRAGMA cache_size = -{CACHE_KB:d}")
            # As the engine does: a log whose end was not written, as after a loss of power, would look damaged.
            file.execute("PRAGMA synchronous = FULL")
        self._seen: list[int | None] = [None] * len(self._files)
        """By file: the last row that was looked at."""
        self._swept_to = 0
        self._is_last = False

    def sweep_last(self) -> int:
        """Drop what may be dropped of a flow that has ended and written all there is; returns how many rows.

        What a flow writes at its end would otherwise lie there twice until the next one starts.
        """
        until = time.monotonic() + LAST_S
        self._is_last, self._is_over = True, lambda: time.monotonic() > until
        return self.sweep()

    def close(self) -> None:
        """Let go of the files."""
        self._held.close()

    def sweep(self) -> int:
        """Drop what newer snapshots supersede, where an epoch has ended since; returns how many rows."""
        resume = resume_epoch_of(self._files)
        if resume <= self._swept_to:
            return 0
        # First: whoever reads file after file knows by it that something may be gone which it would have needed.
        self._commit(resume - 1)
        n_dropped = sum(self._sweep(number, resume) for number in range(len(self._files)))
        if not self._is_over():
            self._swept_to = resume
        return n_dropped

    def _sweep(self, number: int, resume: int) -> int:
        """Drop in one file what lies before the newest row of its key that a resume would take."""
        file = self._files[number]
        seen, keys = self._whole(file, resume) if self._seen[number] is None else self._new(file, number, resume)
        n_dropped, left = 0, iter(keys)
        for key in left:
            if self._is_over():
                return n_dropped
            began_at = time.monotonic()
            file.execute("BEGIN IMMEDIATE")
            for one in chain([key], left):
                n_dropped += file.execute(
                    "DELETE FROM snaps WHERE snap_epoch < ? AND step_id = ? AND state_key = ?", one
                ).rowcount
                if time.monotonic() - began_at > HOLD_S:
                    break
            file.execute("COMMIT")
            if not self._is_last:
                # A snapshot that waits asks now and then: most of the time it may write.
                time.sleep(2 * (time.monotonic() - began_at))
        self._seen[number] = seen
        return n_dropped

    @staticmethod
    def _whole(file: sqlite3.Connection, resume: int) -> tuple[int, list[tuple[int, str, str]]]:
        """Look at all of a file for keys that have more than one row: up to which row, and the keys' newest epochs."""
        ((seen,),) = file.execute("SELECT ifnull(max(rowid), 0) FROM snaps WHERE snap_epoch < ?", (resume,))
        keys = file.execute(
            "SELECT max(snap_epoch), step_id, state_key FROM snaps WHERE snap_epoch < ? "
            "GROUP BY step_id, state_key HAVING count(*) > 1",
            (resume,),
        ).fetchall()
        return seen, keys

    def _new(self, file: sqlite3.Connection, number: int, resume: int) -> tuple[int, list[tuple[int, str, str]]]:
        """Look at what has come since, as far as its epochs have ended."""
        rows = file.execute(
            "SELECT rowid, snap_epoch, step_id, state_key FROM snaps WHERE rowid > ? ORDER BY rowid",
            (self._seen[number],),
        ).fetchall()
        ended = list(takewhile(lambda row: row[1] < resume, rows))
        return ended[-1][0] if ended else self._seen[number] or 0, [row[1:] for row in ended]

    def _commit(self, epoch: int) -> None:
        """Write into each file until when it was swept, as the engine does; a start compares these.

        In steps, so that no file is ever behind another by more than a start bears.
        """
        before = [self._committed(file) for file in self._files]
        for step in (*range(min(before, default=0) + MAX_LAG, epoch, MAX_LAG), epoch):
            for file, committed in zip(self._files, before, strict=True):
                if self._is_over():
                    return
                if committed < step:
                    file.execute(
                        "INSERT INTO commits (part_index, commit_epoch) SELECT part_index, ? FROM parts WHERE true "
                        "ON CONFLICT (part_index) DO UPDATE SET created_at = excluded.created_at, "
                        "commit_epoch = max(commit_epoch, excluded.commit_epoch)",
                        (step,),
                    )

    @staticmethod
    def _committed(file: sqlite3.Connection) -> int:
        ((committed,),) = file.execute("SELECT ifnull(max(commit_epoch), 0) FROM commits")
        return int(committed)


class Sweeping(threading.Thread):
    """Keeps a process that sweeps a store running, until it is closed.

    One that fails is logged and started again: until then the store grows, and loses nothing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(name="sweeping", daemon=True)
        self._folder = folder
        self._closed = threading.Event()
        self._changing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def run(self) -> None:
        """Start it, as often as it ends."""
        while not self._closed.is_set():
            why = self._kept()
            if not self._closed.is_set():
                log.warning(
                    "%s: superseded rows stay for now: what drops them has ended, and is started again in %.0f s: %s",
                    self._folder, AGAIN_S, why,
                )  # fmt: skip
                self._closed.wait(AGAIN_S)

    def _kept(self) -> str:
        """Run it until it ends; says why it did."""
        try:
            process = self._launch()
        except OSError as error:
            return str(error)
        if process is None:
            return ""
        with process:
            said = process.stderr.read().decode(errors="replace").strip() if process.stderr is not None else ""
        last_line = said.splitlines()[-1] if said else "it said nothing"
        return f"exit code {process.returncode}: {last_line}"

    def _launch(self) -> subprocess.Popen[bytes] | None:
        with self._changing:
            if self._closed.is_set():
                return None
            self._process = subprocess.Popen(  # noqa: S603 - of our own words
                [sys.executable, "-m", "dataflows.store.sweeping", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            return self._process

    def close(self) -> None:
        """End it."""
        with self._changing:
            self._closed.set()
            if self._process is not None and self._process.stdin is not None:
                with suppress(BrokenPipeError, ValueError):  # it has ended by itself; then the pipe may be closed
                    self._process.stdin.write(GOODBYE)
                    self._process.stdin.close()
        self.join(END_S)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


def main(folder: Path) -> None:
    """Sweep a store until the standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # of a terminal, or of whoever ends a group: the flow ends this
        signal.signal(number, signal.SIG_IGN)

    def is_over(wait_s: float = 0.0) -> bool:
        return bool(select.select([sys.stdin], [], [], wait_s)[0])

    sweeper = Sweeper(folder, is_over)
    while not is_over(EVERY_S):
        sweeper.sweep()
    if not os.read(sys.stdin.fileno(), 1):
        # The flow was killed. Whoever closes a file last takes its log into it and away, and the next start may just be
        # looking at it: so the files are left as the flow left them.
        os._exit(0)
    sweeper.sweep_last()
    sweeper.close()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (sqlite3.Error, OSError) as failure:
        raise SystemExit(str(failure)) from None
