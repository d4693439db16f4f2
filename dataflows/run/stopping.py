"""When a flow has to stop: a signal, another process of its cluster, another copy that replaced it, a standstill."""

import faulthandler
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import ClassVar

from dataflows.errors import EddyError, FencedError, died
from dataflows.run.recovery_store import make_folder, unusable

log = logging.getLogger(__name__)


class Owner:
    """Whose a recovery store is: each start leaves a token of its own, and who finds another's has been replaced.

    Without it a second copy of a flow on the same store would be followed by the first one's last snapshot.

    Parameters
    ----------
    file : where the token is kept, one a process of the flow.
    clock : seconds that only rise.

    Raises
    ------
    StoreError : the token cannot be written.
    """

    EVERY_S = 1.0

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._token = uuid.uuid4().hex
        self._check_at = clock() + self.EVERY_S
        try:
            make_folder(file.parent)
            own = file.with_name(f"{file.name}-{self._token}")
            own.write_text(self._token)
            own.replace(file)
        except OSError as error:
            raise unusable(file.parent, str(error)) from error

    def check(self) -> None:
        """Look whether the store is still ours.

        Raises
        ------
        FencedError : another copy has started on it.
        EddyError : the token cannot be read.
        """
        try:
            token = self._file.read_text()
        except OSError as error:
            raise EddyError(f"the recovery store lost {self._file}: {error.strerror}; start the flow again") from error
        if token != self._token:
            raise FencedError(
                f"{self._file.parent}: fenced. Another copy of the flow has started on this recovery store and goes "
                "on from its last snapshot; this one stops without another. Run one copy a flow"
            )

    def check_now_and_then(self) -> None:
        """Look at most once a second."""
        now = self._clock()
        if now >= self._check_at:
            self._check_at = now + self.EVERY_S
            self.check()


def disown_others(store: Path, n_processes: int) -> None:
    """Take a recovery store from the processes that a flow no longer has: those of a cluster that was larger.

    Should one of them still be there, it finds no token of its own and stops.
    """
    for token in store.glob("owner-*"):
        number = token.name.removeprefix("owner-")
        if number.isdecimal() and int(number) >= n_processes:
            token.unlink(missing_ok=True)


@dataclass
class Pauses:
    """The longest times for which the engine polled no source, in seconds."""

    AFTER_SNAPSHOT_S: ClassVar[float] = 0.5
    """A pause that begins so soon after a snapshot was asked for is that snapshot's."""

    working_s: float = 0.0
    snapshot_s: float = 0.0
    """While a snapshot was packed and written."""
    on_snapshot: Callable[[float], object] = lambda _seconds: None
    """Told how long each snapshot's pause was."""
    snapshot_began_at: float = 0.0
    """When the newest snapshot was asked for, Unix seconds; 0: none was."""
    _snapshot_at: float = float("-inf")
    _pending_s: float | None = None
    """The longest pause of a snapshot that is not over yet."""

    def begin_snapshot(self, now: float) -> None:
        """Note that a source was asked for its snapshot."""
        self._snapshot_at = now
        self.snapshot_began_at = time.time()

    def add(self, began_at: float, now: float) -> None:
        """Note that no source was polled between two moments."""
        pause_s = now - began_at
        if began_at - self._snapshot_at < self.AFTER_SNAPSHOT_S:
            self.snapshot_s = max(self.snapshot_s, pause_s)
            self._pending_s = max(self._pending_s or 0.0, pause_s)
            return
        self.working_s = max(self.working_s, pause_s)
        if self._pending_s is not None:
            self.on_snapshot(self._pending_s)
            self._pending_s = None


@dataclass
class Stop:
    """Whether the flow is to drain: every source looks at it before each batch."""

    requested: bool = False
    on_request: list[Callable[[], None]] = field(default_factory=list)
    epoch_is_better: Callable[[], bool] = lambda: False
    """Asked when a stop is requested: at the end of its input the engine writes every state once more, and where they
    are many it takes less to let the running epoch end, whose snapshot holds what has changed, and to leave then."""
    after_epoch: bool = False
    """Whether the flow leaves that way."""
    owner: Owner | None = None
    """Of the recovery store; none: there is no store."""
    failure: EddyError | None = None
    """What a helper of the flow has found, on a thread of its own; raised where a source looks next."""
    looked_at: float | None = None
    """When a source last looked, on the monotonic clock; none: no source is at work yet."""
    pauses: Pauses = field(default_factory=Pauses)

    def __call__(self) -> bool:
        """Return whether a stop was requested.

        Raises
        ------
        FencedError : another copy of the flow has taken the recovery store.
        EddyError : a helper of the flow has failed.
        """
        now = time.monotonic()
        if self.looked_at is not None:
            self.pauses.add(self.looked_at, now)
        self.looked_at = now
        self.raise_failure()
        if self.owner is not None:
            self.owner.check_now_and_then()
        return self.requested

    def check_owner(self) -> None:
        """Keep a copy that was replaced from what would hinder its successor.

        Raises
        ------
        FencedError : another copy of the flow has taken the recovery store.
        EddyError : a helper of the flow has failed.
        """
        self.raise_failure()
        if self.owner is not None:
            self.owner.check()

    def before_snapshot(self) -> None:
        """Keep a fenced copy from writing over its successor's snapshots: every source calls it before its own.

        Raises
        ------
        FencedError : another copy of the flow has taken the recovery store.
        EddyError : a helper of the flow has failed.
        """
        self.check_owner()
        self.pauses.begin_snapshot(time.monotonic())

    def raise_failure(self) -> None:
        """Raise what a helper of the flow has found, if any has."""
        if self.failure is not None:
            raise self.failure

    def request(self) -> None:
        """Drain: sources end, state is snapshot, sinks flush, the process exits 0."""
        if not self.requested:
            self.after_epoch = self.epoch_is_better()
            self.requested = True
            for call in self.on_request:
                call()

    def fail(self, failure: EddyError) -> None:
        """Stop the flow with nothing snapshot from now on; the first failure is the one that is told."""
        log.error("%s", failure)
        self.failure = self.failure or failure

    def on_dead_threads(self) -> None:
        """End the flow where any thread of the process dies of what nobody caught."""

        def handle(dead: threading.ExceptHookArgs) -> None:
            threading.__excepthook__(dead)
            name = dead.thread.name if dead.thread else "unknown"
            self.fail(died(name, dead.exc_value or SystemError()))

        threading.excepthook = handle

    def follow(self) -> None:
        """Drain because another process of the cluster does."""
        self.requested = True

    def on_signals(self) -> None:
        """Drain on SIGTERM and SIGINT."""

        def handle(number: int, _frame: FrameType | None) -> None:
            log.info("%s: draining", signal.Signals(number).name)
            # Telling the cluster talks to the broker; a signal handler may not wait for that.
            threading.Thread(target=self.request, daemon=True).start()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)


class Watchdog:
    """Ends the process where its sources are no longer polled: something hangs that only a restart can fix.

    Every source of a running flow looks at `Stop` many times a second, also while nothing arrives; so where none has
    done so for long, the engine stands still. What hangs is printed first, a stack a thread.

    Parameters
    ----------
    stop : what the sources look at.
    limit_s : how long they may not; 0 never ends the process.
    end : called with the exit code.
    """

    EXIT_CODE = 70
    """EX_SOFTWARE, an internal error."""

    def __init__(self, stop: Stop, limit_s: float, end: Callable[[int], object] = os._exit) -> None:
        self._stop = stop
        self._limit_s = limit_s
        self._end = end
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> None:
        """Begin to watch; a resume that takes long is no standstill."""
        if self._limit_s:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Let the process be."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._limit_s / 10):
            looked_at = self._stop.looked_at
            still_s = 0.0 if looked_at is None else time.monotonic() - looked_at
            if still_s > self._limit_s:
                log.error(
                    "the flow has stood still for %.0f s (EDDY_WATCHDOG_S): it ends, to be started again and to go on "
                    "from its last snapshot. What each thread was at follows",
                    still_s,
                )
                faulthandler.dump_traceback(all_threads=True)
                self._end(self.EXIT_CODE)
                return
