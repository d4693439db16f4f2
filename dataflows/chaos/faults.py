"""How flows are killed: alone, in close pairs, and frozen with a successor beside them."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from dataflows.chaos.copies import Copies
from dataflows.errors import EddyError

KILL, TERM, STOP, CONT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT


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


def _while_repeating(copies: Copies, rng: random.Random) -> None:
    """Kill it, and stop its successor cleanly while that still repeats what the first had written."""
    copies.end(KILL)
    copies.start()
    copies.wait_until_ready()
    time.sleep(rng.uniform(0.0, 1.0))
    copies.end(rng.choice([TERM, KILL]))


def _while_draining(copies: Copies, rng: random.Random) -> None:
    """Ask it to drain, and do not let it."""
    for process in copies.processes:
        process.send(TERM)
    time.sleep(rng.uniform(0.0, 0.3))
    copies.end(KILL)


def _one_of_a_cluster(copies: Copies, rng: random.Random) -> None:
    """Kill one process; the others cannot go on alone, and end as well or are killed."""
    lost = rng.choice(copies.processes)
    lost.send(KILL)
    time.sleep(rng.uniform(0.2, 2.0))
    copies.end(KILL)


def _frozen(copies: Copies, rng: random.Random) -> None:
    """Freeze it, start a successor on the same store, and let the first go on: it has to see that it was replaced."""
    first = copies.processes
    for process in first:
        process.send(STOP)
    copies.start()
    copies.wait_until_ready()
    time.sleep(rng.uniform(0.5, 3.0))
    for process in first:
        process.send(CONT)
    codes = [process.wait() for process in first]
    if not all(codes):
        raise EddyError(f"{copies.flow}: a copy that was replaced went on and ended with {codes}")
    copies.check()
    copies.end(rng.choice([TERM, KILL]))


FAULTS = (
    Fault("kill", 1, _alone),
    Fault("term", 1, _drained),
    Fault("kill while it opens", 2, _while_opening),
    Fault("stop while it repeats", 2, _while_repeating),
    Fault("kill while it drains", 2, _while_draining),
    Fault("freeze with a successor", 2, _frozen),
)
CLUSTER_FAULTS = (
    Fault("kill", 1, _alone),
    Fault("term", 1, _drained),
    Fault("kill one of the cluster", 1, _one_of_a_cluster),
    Fault("stop while it repeats", 2, _while_repeating),
)


def strike(
    flows: list[Copies], n_kills: int, seed: int, is_cluster: bool, report: Callable[[str, int], object]
) -> Counter[str]:
    """Kill flows until there were `n_kills`: each fault in turn, on flows and at moments that are drawn.

    Parameters
    ----------
    flows : all of them run.
    report : called before each fault with what is done, and how many kills there were.

    Returns
    -------
    The kills by fault.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    faults = CLUSTER_FAULTS if is_cluster else FAULTS
    done: Counter[str] = Counter()
    while done.total() < n_kills:
        # Each once first, so that a short run has seen them all.
        fault = faults[len(done)] if len(done) < len(faults) else rng.choice(faults)
        copies = flows[0] if rng.random() < 0.6 else rng.choice(flows)
        report(f"{copies.flow}: {fault.name}", done.total())
        time.sleep(rng.uniform(0.3, 3.0))
        fault.strike(copies, rng)
        done[fault.name] += fault.kills
        time.sleep(rng.uniform(0.0, 0.5))
        copies.start()
        copies.wait_until_ready()
    return done
