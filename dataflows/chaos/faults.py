"""How flows are killed: alone, in close pairs, and frozen with a successor beside them."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dataflows.chaos.copies import Copies
from dataflows.demo.flow_process import FlowProcess
from dataflows.errors import EddyError

KILL, TERM, STOP, CONT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT
TRANSACTION_S = 10.0
"""How long the broker lets a transaction of the killed flows stay open."""
FROZEN_S = TRANSACTION_S + 2.0
REPLACED_S = 180.0
"""How long two copies may run side by side until one of them sees the other."""
IDLE_S = 300.0
"""How long a flow may write nothing while events arrive."""
BEGIN_S = 10.0
"""How long a flow that is ready may take until it counts its first message; some count none."""
LOST_PEER_S = 180.0
"""How long the processes of a cluster may take to see that they have lost one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to kill a flow."""

    name: str
    kills: int
    """Signals that it counts as."""
    strike: Callable[[Copies, random.Random], None]
    """Takes a flow that runs; leaves one that is stopped."""


def _alone(copies: Copies, _rng: random.Random) -> None:
    copies.end(KILL)


def _drained(copies: Copies, _rng: random.Random) -> None:
    codes = copies.end(TERM)
    if any(codes):
        raise EddyError(f"{copies.flow} did not drain: exit codes {codes}\n{copies.processes[0].last_words()}")


def _while_opening(copies: Copies, rng: random.Random) -> None:
    """Kill it, and kill its successor before that is ready."""
    copies.end(KILL)
    copies.start()
    time.sleep(rng.uniform(1.0, 6.0))
    copies.end(KILL)


def _killed_while_repeating(copies: Copies, rng: random.Random) -> None:
    """Kill it, and kill its successor while that still repeats what the first had written."""
    _begin_to_repeat(copies, rng)
    copies.end(KILL)


def _drained_while_repeating(copies: Copies, rng: random.Random) -> None:
    """Kill it, and stop its successor cleanly while that still repeats what the first had written."""
    _begin_to_repeat(copies, rng)
    _drained(copies, rng)


def _begin_to_repeat(copies: Copies, rng: random.Random) -> None:
    """Kill it, and let a successor begin: it has taken in some of what the first had, and more is left."""
    copies.end(KILL)
    copies.start()
    copies.wait_until_ready()
    deadline = time.monotonic() + BEGIN_S
    while not copies.has_begun() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.choice([0.0, rng.uniform(0.0, 1.0)]))


def _while_draining(copies: Copies, rng: random.Random) -> None:
    """Ask it to drain, and do not let it."""
    for process in copies.processes:
        process.send(TERM)
    time.sleep(rng.uniform(0.0, 0.3))
    copies.end(KILL)


def _one_of_several(copies: Copies, rng: random.Random) -> None:
    """Kill one process: those of its cluster cannot go on without it and have to end by themselves."""
    lost = rng.choice(copies.processes)
    lost.send(KILL)
    codes = [process.wait(LOST_PEER_S) for process in copies.processes]
    if 0 in codes or (codes.count(-KILL) > 1):
        raise EddyError(
            f"{copies.flow}: of a cluster that lost a process the others ended with {codes}, not by themselves and "
            f"with an error\n{copies.processes[0].last_words()}"
        )


def _frozen(copies: Copies, rng: random.Random) -> None:
    """Freeze it for longer than a transaction may stay open, with a successor on the same store from soon on.

    When it goes on, it has to see that it was replaced.
    """
    until = time.monotonic() + FROZEN_S
    first = _replaced_while_frozen(copies)
    time.sleep(max(rng.uniform(0.5, 3.0), until - time.monotonic()))
    if _one_remains(copies, first) is first:
        raise EddyError(f"{copies.flow}: a copy that was replaced went on, and its successor ended")
    copies.end(rng.choice([TERM, KILL]))


def _frozen_while_opening(copies: Copies, rng: random.Random) -> None:
    """Freeze one while it opens, start a successor, and let it go on: whoever claimed the store last stays, alone."""
    copies.end(KILL)
    copies.start()
    time.sleep(rng.uniform(1.0, 6.0))
    first = _replaced_while_frozen(copies)
    copies.processes = _one_remains(copies, first)
    copies.end(rng.choice([TERM, KILL]))


def _replaced_while_frozen(copies: Copies) -> list[FlowProcess]:
    """Freeze a flow and start another one in its place; returns the frozen one."""
    first = copies.processes
    for process in first:
        process.send(STOP)
    copies.start()
    copies.wait_until_ready()
    return first


def _one_remains(copies: Copies, first: list[FlowProcess]) -> list[FlowProcess]:
    """Let the frozen processes go on beside their successors, until those of one side have ended; return the others."""
    for process in first:
        process.send(CONT)
    deadline = time.monotonic() + REPLACED_S
    while time.monotonic() < deadline:
        for gone, left in ((first, copies.processes), (copies.processes, first)):
            codes = [process.code for process in gone]
            if None not in codes:
                if 0 in codes:
                    raise EddyError(f"{copies.flow}: a copy that was replaced ended with {codes}, as if it had drained")
                return left
        time.sleep(0.1)
    for process in first:
        process.send(KILL)
    raise EddyError(f"{copies.flow}: two copies have run side by side for {REPLACED_S:.0f} s")


FAULTS = (
    Fault("kill", 1, _alone),
    Fault("term", 1, _drained),
    Fault("kill while it opens", 2, _while_opening),
    Fault("kill while it repeats", 2, _killed_while_repeating),
    Fault("term while it repeats", 2, _drained_while_repeating),
    Fault("kill while it drains", 2, _while_draining),
    Fault("freeze with a successor", 2, _frozen),
    Fault("kill one process", 1, _one_of_several),
    Fault("freeze while it opens", 2, _frozen_while_opening),
)


def strike(
    flows: list[Copies],
    faults: Sequence[Fault],
    n_kills: int,
    rng: random.Random,
    n_written: Callable[[str], int],
    report: Callable[[str, int], object],
) -> Counter[str]:
    """Kill flows until there were `n_kills`: each fault in turn, on flows and at moments that are drawn.

    Parameters
    ----------
    flows : all of them run, and do so at the end.
    n_written : says how much a flow has written so far: each is at work before it is struck.
    report : called before each fault with what is done, and how many kills there were.

    Returns
    -------
    The kills by fault.
    """
    done: Counter[str] = Counter()
    while done.total() < n_kills:
        # Each once first, so that a short run has seen many.
        fault = faults[len(done)] if len(done) < len(faults) else rng.choice(faults)
        copies = flows[0] if rng.random() < 0.5 else rng.choice(flows)
        report(f"{copies.flow}: {fault.name}", done.total())
        _wait_until_it_writes(copies, n_written)
        time.sleep(rng.uniform(0.0, 3.0))
        for each in flows:
            each.check()
        fault.strike(copies, rng)
        done[fault.name] += fault.kills
        time.sleep(rng.uniform(0.0, 0.5))
        copies.start()
        copies.wait_until_ready()
    return done


def _wait_until_it_writes(copies: Copies, n_written: Callable[[str], int]) -> None:
    n_before, deadline = n_written(copies.flow), time.monotonic() + IDLE_S
    while n_written(copies.flow) == n_before:
        copies.check()
        if time.monotonic() > deadline:
            raise EddyError(f"{copies.flow} has written nothing for {IDLE_S:.0f} s")
        time.sleep(0.02)
