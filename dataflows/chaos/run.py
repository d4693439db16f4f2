"""One run of chaos: a platform that never rests, flows that are killed, and a strict count at the end."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from dataflows.chaos.audit import Findings, audit, tables_differ
from dataflows.chaos.copies import Copies
from dataflows.chaos.event_writer import EventWriter
from dataflows.chaos.faults import strike
from dataflows.codecs import catalog_decoder, latest_row
from dataflows.errors import EddyError
from dataflows.following.tables import KafkaTables
from dataflows.kafka.admin import Client, create_topics
from dataflows.kafka.reader import KafkaReader, scan
from dataflows.run.settings import EventSettings
from dataflows.topics import declare
from models.items import ItemTable

EXPERIMENTS = """\
experiments:
  - name: chaos
    variants:
      - {name: one, weight: 1, strategy: {ranker: blend}}
      - {name: two, weight: 1, strategy: {ranker: blend, diversity: 0.3}}
"""
AUDITED = ("recommendations", "dead-letters", "assignments")
QUIET_S = 5.0
"""Nothing more is to be expected once nothing has come for so long."""


@dataclass(frozen=True, slots=True)
class ChaosConfig:
    """What to do to the flows."""

    kills: int = 20
    rate: float = 100.0
    """Events a second."""
    partitions: int = 3
    processes: int = 1
    """Of `recommend`."""
    flows: tuple[str, ...] = ("recommend", "learn", "evaluate")
    """Those that are killed; the others run undisturbed."""
    epoch_s: int = 1
    """Seconds between snapshots."""
    seed: int = 0


def chaos(servers: str, folder: Path, config: ChaosConfig, report: Callable[[str, int], object]) -> dict[str, Any]:
    """Kill flows while events arrive, and count what came of each event.

    Parameters
    ----------
    servers : of a broker on which topics may be made.
    folder : for logs and recovery stores.
    report : called with what is done, and how many kills there were.

    Returns
    -------
    Values of JSON; `lost`, `duplicated`, `state_jumps` and `tables_differ` are 0 where every promise was kept.

    Raises
    ------
    EddyError : a flow stopped by itself, or a killed one did not start again; the text ends with its log.
    """
    client: dict[str, str | int | float | bool] = {"bootstrap.servers": servers}
    prefix = f"chaos-{int(time.time() * 1_000):x}-"
    calm = f"{prefix}calm-"  # where `learn` reads the same events undisturbed
    for name in (prefix, calm):
        create_topics(client, declare(name), config.partitions)
    experiments = folder / "experiments.yaml"
    experiments.write_text(EXPERIMENTS)
    settings = {
        "EDDY_KAFKA__BOOTSTRAP_SERVERS": servers,
        "EDDY_TOPICS__PREFIX": prefix,
        "EDDY_EXPERIMENTS_FILE": str(experiments),
        "EDDY_RECOVERY__EPOCH_INTERVAL_S": str(config.epoch_s),
        "EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S": str(config.epoch_s),
        "EDDY_RECOVERY__PARTITIONS": "4",
        "EDDY_EVALUATE__PUBLISH_EVERY_S": "1",
    }
    flows = [
        Copies(flow, settings, folder, config.processes if flow == "recommend" else 1)
        for flow in ("recommend", "learn", "evaluate")
    ]
    traffic = EventWriter(client, [prefix, calm], config.rate, config.seed)
    try:
        for copies in flows:
            copies.start()
        for copies in flows:
            copies.wait_until_ready()
        traffic.start()
        struck = [copies for copies in flows if copies.flow in config.flows]
        kills = strike(struck, config.kills, config.seed, config.processes > 1, report)
        report("waiting for what is still on its way", kills.total())
        sent = traffic.end()
        _wait_until_quiet(client, [f"{prefix}{topic}" for topic in (*AUDITED, "model-updates", "experiment-results")])
        for copies in flows:
            if any(codes := copies.end()):
                raise EddyError(f"{copies.flow} did not drain: {codes}\n{copies.processes[0].last_words()}")
    finally:
        for copies in flows:
            copies.kill()
    report("counting", kills.total())
    found = audit(sent, *(scan(client, f"{prefix}{topic}") for topic in AUDITED))
    report("learning the same events undisturbed", kills.total())
    (folder / "calm").mkdir()
    undisturbed = Copies("learn", settings | {"EDDY_TOPICS__PREFIX": calm}, folder / "calm")
    differ = tables_differ(_tables(client, prefix), _learn_undisturbed(client, undisturbed, calm))
    return _summary(config, kills, len(sent.events), found, flows) | {"tables_differ": differ}


def _summary(
    config: ChaosConfig, kills: Counter[str], n_events: int, found: Findings, flows: list[Copies]
) -> dict[str, Any]:
    starts_s = [took_s for copies in flows for took_s in copies.starts_s]
    return {
        "kills": kills.total(),
        "events": n_events,
        "lost": found.lost.total(),
        "duplicated": found.duplicated.total(),
        "state_jumps": found.state_jumps,
        "recovery_s": {"median": round(median(starts_s), 2), "max": round(max(starts_s), 2)},
        "by_topic": {"lost": dict(found.lost), "duplicated": dict(found.duplicated)},
        "by_fault": dict(kills),
        "processes": config.processes,
        "seed": config.seed,
    }


def _wait_until_quiet(client: Client, topics: list[str], deadline_s: float = 300.0) -> None:
    """Wait until none of the topics has grown for a while."""
    ends, quiet_since = -1, time.monotonic()
    started = quiet_since
    while time.monotonic() - quiet_since < QUIET_S:
        if time.monotonic() - started > deadline_s:
            raise EddyError(f"after {deadline_s:.0f} s messages are still coming")
        time.sleep(0.5)
        with closing(KafkaReader(client, topics, start="latest")) as reader:
            now = sum(reader.ends.values())
        if now != ends:
            ends, quiet_since = now, time.monotonic()


def _tables(client: Client, prefix: str) -> ItemTable:
    """Read the item tables that `learn` has published."""
    table = ItemTable(landmark_at=0)
    names, settings = (f"{prefix}model-updates", f"{prefix}catalog"), EventSettings()
    tables = KafkaTables(client, *names, catalog_decoder(settings), table, Counter(), latest_row(settings))
    with closing(tables):
        tables.load()
    return table


def _learn_undisturbed(client: Client, copies: Copies, prefix: str) -> ItemTable:
    """Let `learn` read all events once, and read what it has published."""
    copies.start()
    try:
        copies.wait_until_ready()
        _wait_until_quiet(client, [f"{prefix}model-updates"])
        copies.end()
    finally:
        copies.kill()
    return _tables(client, prefix)
