"""One run of chaos: a platform that never rests, flows that are killed, and a strict count at the end."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from dataflows.chaos.audit import Findings, audit
from dataflows.chaos.copies import Copies
from dataflows.chaos.differences import results_differ, rows_differ
from dataflows.chaos.event_writer import Act, EventWriter, Written
from dataflows.chaos.faults import FAULTS, TRANSACTION_S, strike
from dataflows.chaos.installation import WRITTEN, Installation
from dataflows.chaos.recorder import Recorder
from dataflows.chaos.undisturbed import newest_rows, results_of_files, rows_of_files, run_over_files
from dataflows.cli.results import newest_results
from dataflows.errors import EddyError
from dataflows.kafka.reader import scan
from dataflows.topics import FLOWS

N_USERS = 1_000
"""So many that each acts seldom: while a flow is down, nobody does more than `evaluate` can put in order."""
N_ITEMS = 40
"""Fewer than an item has neighbours, so that no count is ever given up and two histories of tables are equal."""
QUIET_S = 5.0
"""Nothing more is to be expected once nothing has come for so long."""
NAMED = 20
"""Of what is found, so many are named."""


class Screen(Protocol):
    """Who is shown what happens."""

    def say(self, what: str, n_kills: int) -> None:
        """Show what is done next, and how many kills there were."""

    def count(self, n_events: int) -> None:
        """Show how many events were sent so far; called from another thread."""


@dataclass(frozen=True, slots=True)
class ChaosConfig:
    """What to do to the flows."""

    kills: int = 20
    rate: float = 100.0
    """Events a second."""
    partitions: int = 3
    processes: int = 2
    """Of `recommend`: each start has one or more, up to so many."""
    flows: tuple[str, ...] = tuple(FLOWS)
    """Those that run and are killed."""
    faults: tuple[str, ...] = tuple(fault.name for fault in FAULTS)
    """Those that are made."""
    epochs_s: tuple[int, ...] = (1, 20)
    """Seconds between snapshots: of each start, one of these. A crash in a long one leaves much to repeat."""
    seed: int = 0


def chaos(servers: str, folder: Path, config: ChaosConfig, screen: Screen) -> dict[str, Any]:
    """Kill flows while events arrive, and count what came of each event.

    Parameters
    ----------
    servers : of a broker on which topics may be made.
    folder : for logs, recovery stores and a copy of the topics.

    Returns
    -------
    Values of JSON; `lost`, `duplicated`, `state_jumps` and `tables_differ` are 0 where every promise was kept.

    Raises
    ------
    EddyError : a flow stopped by itself, or a killed one did not start again; the text ends with its log.
    """
    rng = random.Random(config.seed)  # noqa: S311 - no secret is made of it
    place = Installation.make(servers, folder, config.partitions, {
        "EDDY_KAFKA__PRODUCER_OPTIONS": f'{{"transaction.timeout.ms": {TRANSACTION_S * 1_000:.0f}}}',
    })  # fmt: skip
    sizes = {"recommend": lambda: rng.randint(1, config.processes)}
    flows = [
        place.copies(flow, sizes.get(flow, lambda: 1), lambda: rng.choice(config.epochs_s)) for flow in config.flows
    ]
    acts = drawn_acts(N_USERS, N_ITEMS, config.seed)
    writer = EventWriter(place.client, f"{place.prefix}events", acts, config.rate, config.seed, screen.count)
    with closing(place.recorder()) as recorder:
        try:
            for copies in flows:
                copies.start()
            for copies in flows:
                copies.wait_until_ready()
            writer.start()
            faults = [fault for fault in FAULTS if fault.name in config.faults]
            kills = strike(flows, faults, config.kills, rng, lambda flow: recorder.n_heard[WRITTEN[flow]], screen.say)
            screen.say("waiting for what is still on its way", kills.total())
            sent = writer.end()
            place.wait_until_caught_up(flows)
            recorder.wait_until_quiet(QUIET_S)
            for copies in flows:
                if any(codes := copies.end()):
                    raise EddyError(f"{copies.flow} did not drain: {codes}\n{copies.processes[0].last_words()}")
            recorder.wait_until_quiet(QUIET_S)
        finally:
            for copies in flows:
                copies.kill()
    screen.say("counting", kills.total())
    found = audit_recorded(sent, recorder, config.flows)
    screen.say("learning and judging the same messages undisturbed", kills.total())
    tables = _tables_differ(place, recorder) if "learn" in config.flows else []
    results = _results_differ(place, recorder) if "evaluate" in config.flows else []
    return _summary(config, kills, len(sent.events), found, tables, results, flows)


def audit_recorded(sent: Written, recorder: Recorder, flows: tuple[str, ...]) -> Findings:
    """Audit what `recommend` has written, where it is among the flows."""
    if "recommend" not in flows:
        return Findings()
    return audit(sent, *(recorder.records(topic) for topic in ("recommendations", "dead-letters", "assignments")))


def _tables_differ(place: Installation, recorder: Recorder) -> list[str]:
    """Let `learn` read the same messages undisturbed; name the rows that say anything else."""
    run_over_files("learn", place.settings, recorder.folder, place.folder)
    killed = newest_rows(scan(place.client, f"{place.prefix}model-updates"))
    return rows_differ(killed, rows_of_files(recorder.folder))


def _results_differ(place: Installation, recorder: Recorder) -> list[str]:
    """Let `evaluate` read the same messages undisturbed; name the figures that are others."""
    run_over_files("evaluate", place.settings, recorder.folder, place.folder)
    killed = newest_results(scan(place.client, f"{place.prefix}experiment-results"))
    return results_differ(killed, results_of_files(recorder.folder))


def drawn_acts(n_users: int, n_items: int, seed: int) -> Callable[[], Act]:
    """Draw users and items, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    return lambda: (f"u-{rng.randrange(n_users)}", f"i-{rng.randrange(n_items)}")


def _summary(
    config: ChaosConfig,
    kills: Counter[str],
    n_events: int,
    found: Findings,
    tables: list[str],
    results: list[str],
    flows: list[Copies],
) -> dict[str, Any]:
    ready_s = [seconds for copies in flows for seconds in copies.ready_s]
    return {
        "kills": kills.total(),
        "events": n_events,
        "lost": sum(map(len, found.lost.values())),
        "duplicated": sum(map(len, found.duplicated.values())),
        "state_jumps": len(found.state_jumps),
        "tables_differ": len(tables),
        "results_differ": len(results),
        "recovery_s": {"median": round(median(ready_s), 2), "max": round(max(ready_s), 2)},
        "found": {
            "lost": {topic: names[:NAMED] for topic, names in found.lost.items() if names},
            "duplicated": {topic: names[:NAMED] for topic, names in found.duplicated.items() if names},
            "state_jumps": found.state_jumps[:NAMED],
            "tables_differ": tables[:NAMED],
            "results_differ": results[:NAMED],
        },
        "by_fault": dict(kills),
        "starts_by_processes": {copies.flow: dict(sorted(copies.sizes.items())) for copies in flows},
        "seed": config.seed,
    }
