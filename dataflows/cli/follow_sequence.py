"""`eddy models follow`: the sequence model in service goes on learning from the events as they come."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from dataflows.cli.topics import load_for_cluster
from dataflows.codecs import catalog_decoder, erasure_decoder, event_decoder, latest_row
from dataflows.errors import EddyError
from dataflows.following.erasures import Erasures, followed_erasures
from dataflows.following.sequence import SequenceFollower
from dataflows.following.tables import KafkaTables
from dataflows.kafka.reader import KafkaReader
from dataflows.kafka.rights import helper_group, sole_writer
from dataflows.kafka.sole_writer import SoleWriter
from dataflows.kafka.watch import watching_topics
from dataflows.plausible import in_ms, now
from dataflows.run.metrics import FlowMetrics
from dataflows.run.resources import state_keys, text_space
from dataflows.run.runtime import Health, serve_health
from dataflows.run.settings import Settings
from dataflows.topics import CATALOG, ERASURES, EVENTS, MODEL_UPDATES
from models.items import ItemTable
from models.names import SEQUENCE

FLOW = "follow"
"""Under which a cluster knows its consumers and its rights."""
TOLD_EVERY_S = 60.0

Every = Annotated[
    float, typer.Option(min=1.0, help="Seconds that it learns until it decides again whether it is better.")
]
For = Annotated[
    float | None,
    typer.Option("--for", min=0.0, help="Seconds after which it ends.", show_default="until it is stopped"),
]


def follow(every: Every = 60.0, ends_after: For = None) -> None:
    """Let the sequence model in service go on learning, and publish it whenever it has become better.

    It reads the last million events before those that the model has not learned, and remembers what users did; from
    there on it predicts each act and then learns it. Once it has predicted better than the model in service, on average
    over users, it becomes the next version; `recommend` takes it over within moments. Run one such process: where two
    run, the one that started first ends when it has something to publish. It keeps nothing of its own and may be
    stopped at any time. It answers probes and Prometheus as the flows do.
    """
    settings = load_for_cluster()
    console = Console(stderr=True)
    failures: list[EddyError] = []
    health = Health(FLOW)
    client = settings.kafka.client() | settings.kafka.consumer_options
    prefix, counts = settings.topics.prefix, health.counts
    erased = Erasures(state_keys(settings), counts, settings.privacy.max_erased)
    with console.status("loading the item tables"):
        tables = _tables(settings, counts, failures)
        tables.load()
    reader = KafkaReader(client, [prefix + EVENTS.name], helper_group(FLOW, prefix, "events"))
    decode = erasure_decoder(settings.events)
    try:
        with (
            serve_health(settings.http, health) as port,
            _stopped() as stopped,
            console.status("learning") as status,
            watching_topics(
                settings.kafka.client(),
                [prefix + topic.name for topic in (EVENTS, ERASURES, MODEL_UPDATES, CATALOG)],
                failures.append,
            ),
            followed_erasures(
                client, prefix + ERASURES.name, helper_group(FLOW, prefix, "erasures"), decode, erased, failures.append
            ),
        ):
            follower = SequenceFollower(
                reader, tables, event_decoder(settings.events), settings.events, settings.profile, erased,
                lambda rows: writer.write((row.key, row.value) for row in rows), every, counts,
            )  # fmt: skip
            # Last: it fences the process that runs, which is worth it only where this one can take its place.
            writer = SoleWriter(
                settings.kafka.client() | settings.kafka.producer_options,
                prefix + MODEL_UPDATES.name,
                sole_writer(FLOW, prefix),
                "`eddy models follow`",
            )
            _watch(health.metrics, reader, follower)
            probes = f"; health on http://{settings.http.host}:{port}/healthz" if port else ""
            console.print(f"going on from {follower.learner.service.version}{probes}", highlight=False)
            began = told = time.monotonic()
            while not stopped and (ends_after is None or time.monotonic() - began < ends_after):
                if failures:
                    raise failures[0]
                better = follower.step()
                health.ready = reader.complete
                status.update(_told(counts))
                if better is not None:
                    online = better.provenance["online"]
                    console.print(
                        f"{better.version} serves: 1 / rank {online['gain']:.4f}, where the version before it had "
                        f"{online['replaced']:.4f}, on {online['n_slates']:,} acts that neither had learned",
                        highlight=False,
                    )
                if time.monotonic() - told >= TOLD_EVERY_S:
                    told = time.monotonic()
                    console.print(_told(counts), highlight=False)
            console.print(_told(counts), highlight=False)
    finally:
        reader.close()
        tables.close()


def _watch(metrics: FlowMetrics, reader: KafkaReader, follower: SequenceFollower) -> None:
    """Export how far behind it is, what serves and how well it does."""
    metrics.watch_lag(reader.behind)
    metrics.watch_versions(lambda: [(SEQUENCE, follower.learner.service.version)])
    metrics.watch_by(
        "eddy_sequence_gain",
        "1 / rank of acts that were predicted until the newest decision, a mean over users.",
        ("model",),
        lambda: zip((("learning",), ("service",)), follower.learner.decided or (), strict=False),
    )


@contextmanager
def _stopped() -> Iterator[list[int]]:
    """Give a list that holds the signals to stop which have come."""
    stopped: list[int] = []
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(kind, lambda number, _frame: stopped.append(number)) for kind in kinds]
    try:
        yield stopped
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _told(counts: Counter[str]) -> str:
    left_out = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts.items()) if reason != "learned")
    return f"learned {counts['learned']:,} acts" + (f"; left out: {left_out}" if left_out else "")


def _tables(settings: Settings, counts: Counter[str], failures: list[EddyError]) -> KafkaTables:
    learning, prefix = settings.learn, settings.topics.prefix
    table = ItemTable(
        in_ms(now()),
        half_life_short_ms=learning.half_life_short_ms,
        half_life_long_ms=learning.half_life_long_ms,
        texts=text_space(learning),
    )
    return KafkaTables(
        settings.kafka.client() | settings.kafka.consumer_options,
        prefix + MODEL_UPDATES.name,
        prefix + CATALOG.name,
        helper_group(FLOW, prefix, "tables"),
        catalog_decoder(settings.events),
        table,
        counts,
        latest_row(settings.events),
        failures.append,
    )
