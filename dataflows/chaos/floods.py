"""Floods: far more events than flows can answer at once, of one user, on one item, or of a million users."""

import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from dataflows.chaos.copies import Copies
from dataflows.chaos.event_writer import Act, EventWriter, Written
from dataflows.chaos.installation import WRITTEN, Installation
from dataflows.chaos.recorder import Recorder
from dataflows.chaos.run import Screen, audit_recorded
from dataflows.chaos.watch import Watch
from dataflows.errors import EddyError
from dataflows.topics import FLOWS

TIMES = 10
"""How much more than can be answered an overload brings."""
BURST = 5_000
"""Events that show how many can be answered a second."""
QUIET_S = 5.0
"""Nothing more is to be expected once nothing has come for so long."""
DEADLINE_S = 3_600.0
GROWTH = 1.25
"""A memory that is bounded does not grow by more than this in the second half of a flood."""

Acts = Callable[[random.Random], Callable[[], Act]]


def _many_of_each(rng: random.Random) -> Callable[[], Act]:
    return lambda: (f"u-{rng.randrange(1_000)}", f"i-{rng.randrange(1_000)}")


def _one_user(rng: random.Random) -> Callable[[], Act]:
    return lambda: ("u-0", f"i-{rng.randrange(1_000)}")


def _one_item(rng: random.Random) -> Callable[[], Act]:
    return lambda: (f"u-{rng.randrange(1_000)}", "i-0")


def _many_users(rng: random.Random) -> Callable[[], Act]:
    numbers = count()
    return lambda: (f"u-{next(numbers)}", f"i-{rng.randrange(1_000)}")


@dataclass(frozen=True, slots=True)
class Flood:
    """One way to bring more than a flow can take."""

    acts: Acts
    size: int | None
    """Events, unless another number is asked for; none: as many as fall into a time."""
    grows: bool = False
    """Whether there is more to remember with each event: new users."""


FLOODS = {
    "overload": Flood(_many_of_each, None),
    "one-user": Flood(_one_user, 50_000),
    "one-item": Flood(_one_item, 50_000),
    "many-users": Flood(_many_users, 50_000, grows=True),
}


@dataclass(frozen=True, slots=True)
class FloodConfig:
    """How large a flood is."""

    name: str
    size: int | None = None
    """Events; none: as the flood says."""
    seconds: float = 60.0
    """Of an overload."""
    flows: tuple[str, ...] = tuple(FLOWS)
    partitions: int = 3
    seed: int = 0


def flood(servers: str, folder: Path, config: FloodConfig, screen: Screen) -> dict[str, Any]:
    """Flood running flows with events, let them catch up, and count.

    Returns
    -------
    Values of JSON.

    Raises
    ------
    EddyError : a flow stopped by itself; the text ends with its log.
    """
    kind = FLOODS[config.name]
    acts = kind.acts(random.Random(config.seed))  # noqa: S311 - no secret is made of it
    place = Installation.make(servers, folder, config.partitions)
    flows = [place.copies(flow) for flow in config.flows]
    written = Written()

    def write(rate: float, n: float) -> float:
        """Write events; return how many seconds it took."""
        started = time.monotonic()
        EventWriter(place.client, f"{place.prefix}events", acts, rate, config.seed, screen.count, written).write(n)
        return time.monotonic() - started

    with closing(place.recorder()) as recorder:
        try:
            for copies in flows:
                copies.start()
            for copies in flows:
                copies.wait_until_ready()
            screen.say("a few events first", 0)
            write(100.0, 300)
            recorder.wait_until_quiet(3.0)
            rate, size = float("inf"), config.size or kind.size or 0
            sustained = None
            if kind.size is None:
                screen.say("how many can be answered a second", 0)
                sustained = _sustained(write, recorder, len(written.events))
                rate, size = TIMES * sustained, round(TIMES * sustained * config.seconds)
            watch = Watch(flows)
            watch.start()
            screen.say(f"{config.name}: {size:,} events", 0)
            seconds = write(rate, size)
            ended_at = time.monotonic()
            screen.say("catching up", 0)
            place.wait_until_caught_up(flows)
            recorder.wait_until_quiet(QUIET_S)
            watch.end()
            drained_s = {copies.flow: _drained(copies) for copies in flows}
            recorder.wait_until_quiet(3.0)
        finally:
            for copies in flows:
                copies.kill()
        caught_up_s = {
            copies.flow: round(max(0.0, recorder.heard_at[WRITTEN[copies.flow]] - ended_at), 1) for copies in flows
        }
    screen.say("counting", 0)
    found = audit_recorded(written, recorder, config.flows)
    seen = {flow: seen.summary() for flow, seen in watch.seen.items()}
    return {
        "flood": config.name,
        "events": len(written.events),
        "lost": sum(map(len, found.lost.values())),
        "duplicated": sum(map(len, found.duplicated.values())),
        "state_jumps": len(found.state_jumps),
        "events_a_second": round(size / seconds),
        "sustained_a_second": sustained and round(sustained),
        "slates_a_second": round(size / (seconds + caught_up_s.get("recommend", 0.0))),
        "catch_up_s": caught_up_s,
        "drained_s": drained_s,
        "memory_bounded": None if kind.grows else {flow: is_bounded(of["memory_mb"]) for flow, of in seen.items()},
        "flows": seen,
    }


def _drained(copies: Copies) -> float:
    """End a flow, which writes the state of all its users once more; return how many seconds that took."""
    began = time.monotonic()
    if any(codes := copies.end(timeout_s=DEADLINE_S)):
        raise EddyError(f"{copies.flow} did not drain: {codes}\n{copies.processes[0].last_words()}")
    return round(time.monotonic() - began, 1)


def is_bounded(memory_mb: dict[str, int]) -> bool:
    """Say whether memory has stopped to grow by the half of a flood."""
    return memory_mb["peak"] <= GROWTH * memory_mb["half"]


def _sustained(write: Callable[[float, float], float], recorder: Recorder, n_before: int) -> float:
    """Return how many events a second are answered while more are waiting."""
    started = time.monotonic()
    write(float("inf"), BURST)
    while recorder.n_heard["recommendations"] < n_before + BURST:
        time.sleep(0.05)
        if time.monotonic() - started > DEADLINE_S:
            raise EddyError(f"{BURST} events were not answered within {DEADLINE_S:.0f} s")
    return BURST / (time.monotonic() - started)
