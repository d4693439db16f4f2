"""Runs the demo: a broker, the flows, a stream of real ratings, a live view, and a summary."""

import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from dataflows.cli.result_figures import show as show_result
from dataflows.cli.results import newest_results
from dataflows.codecs import encode
from dataflows.demo.broker import choose_broker
from dataflows.demo.drawn import experiments_file, show_learned_order
from dataflows.demo.flow_process import FlowProcess, running_flows
from dataflows.demo.judge import Judge, decode_slate
from dataflows.demo.screen import live_view, variants
from dataflows.demo.training import compared, ranker_path, trained_ranker, trained_sequence, why_believed
from dataflows.demo.world import World, load_world
from dataflows.kafka.admin import Client, create_topics
from dataflows.kafka.reader import KafkaReader, scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.run.infrastructure import KafkaSettings
from dataflows.run.settings import Settings
from dataflows.topics import declare
from models.messages import Event, Request
from models.online.versions import in_order, rows_of_sequence
from models.sequence.checkpoint import load_sequence_checkpoint

FRAME_S = 0.25
N_PARTITIONS = 1
"""Each flow is one process here; more partitions would bring it more writers and no more speed."""
SETTLE_S = 10.0
"""How long the last slates may take."""
FIRST = "first-slate"
NOTICE = "MovieLens ratings; each user keeps their order, long gaps are cut short, users side by side, times are now"

KEPT_IN = Path(".eddy")
"""Where the ranker is kept for the next time."""
MIN_USERS = 2
"""So few for a film to trend: the demo's people are few, and no secret."""


def run_demo(
    n_events: int,
    rate: float,
    settings: Settings,
    kafka_home: str | None,
    real: bool,
    console: Console,
    *,
    live: bool,
    sampled: float,
    on_page: Callable[[str], bool],
) -> dict[str, Any]:
    """Run the demo to its end; returns its report.

    Parameters
    ----------
    rate : events a second.
    real : whether the settings name a cluster to use, instead of a broker of the demo's own.
    live : draw the live view; otherwise only what happens is said.
    sampled : share of the slates that are drawn as a whole; above 0 the end says what they tell of the learned order.
    on_page : given the address of the live page once that answers; says whether somebody looks at it. Then the flows go
        on after the last event, until Ctrl-C.
    """
    servers = settings.kafka.bootstrap_servers if real else None
    with tempfile.TemporaryDirectory(prefix="eddy-demo-") as folder, choose_broker(servers, kafka_home) as broker:
        console.print(f"broker: {broker.description}", highlight=False)
        with console.status("reading MovieLens"):
            world = load_world(n_events, rate)
        checkpoint = ranker_path(world, KEPT_IN)
        if settings.ranker.name != "none":
            trained_ranker(world, KEPT_IN, console)  # which `learn` goes on from
        kafka = KafkaSettings(**{**dict(settings.kafka), "bootstrap_servers": broker.bootstrap_servers})
        demo = _Demo(world, kafka.client(), f"demo-{int(time.time())}-")
        environment = {
            "EDDY_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "EDDY_TOPICS__PREFIX": demo.prefix,
            "EDDY_CHECKPOINT": str(checkpoint.absolute()),
            "EDDY_LEARN__MIN_USERS": str(MIN_USERS),
            "EDDY_EXPERIMENTS_FILE": str(experiments_file(Path(folder), sampled)),
        }
        console.print(
            f"trends: a film trends here from {MIN_USERS} people on; by default from 5 (EDDY_LEARN__MIN_USERS)",
            highlight=False,
        )
        with console.status("writing the catalog, and what other users rated before"):
            demo.prepare()
        with running_flows(("learn", "serve"), environment, Path(folder)) as learning:
            with console.status("starting the door, and the flow that learns the item tables from it"):
                learning[1].wait_until_ready()
            is_watched = on_page(f"http://127.0.0.1:{learning[1].port}")
            believed = why_believed(trained_ranker(world, KEPT_IN, console))
            sequence = trained_sequence(world, KEPT_IN, console)
            demo.publish(sequence)
            with console.status("learning the item tables"):
                learning[0].wait_until_ready()
                demo.wait_until_learned(learning[0])
            now = {"EDDY_KAFKA__START": "latest", "EDDY_EVALUATE__PUBLISH_EVERY_S": "1"}
            with running_flows(("recommend", "evaluate"), environment | now, Path(folder)) as serving:
                with console.status("loading the tables and compiling the kernels (the first time takes longer)"):
                    for flow in serving:
                        flow.wait_until_ready()
                report = demo.stream([*learning, *serving], console, believed, live=live)
                if is_watched:
                    _serve_on([*learning, *serving], console)
        demo.show_results(console)
        if sampled:
            show_learned_order(settings, kafka, demo.prefix, checkpoint, console)
        with console.status("ranking the stream once more, by each way on the same slates"):
            report["same_slates"] = same = compared(world, checkpoint, sequence)
        console.print(
            f"on the same {same['n']} slates of these users there are among the first ten {same['blend']:.1%} of the "
            f"next films by the blend, {same['learned']:.1%} by the learned ranker, and {same['sequence']:.1%} by the "
            "blend with the sequence model",
            highlight=False,
        )
        if real:
            console.print(f"its topics are kept: EDDY_TOPICS__PREFIX={demo.prefix} names them", highlight=False)
        return report


def _serve_on(flows: list[FlowProcess], console: Console) -> None:
    """Let the page live on until Ctrl-C."""
    with (
        console.status("the stream has ended; the page goes on. Ctrl-C: what the experiment says, and the end"),
        suppress(KeyboardInterrupt),
    ):
        while True:
            for flow in flows:
                flow.check()
            time.sleep(FRAME_S)


class _Demo:
    """The platform's side: writes what people do, reads what Eddy recommends."""

    def __init__(self, world: World, client: Client, prefix: str) -> None:
        self._world = world
        self._client = client
        self.prefix = prefix
        self.judge = Judge(len(world.items))
        self._recent: dict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=6))
        self._shown: Event | None = None

    def prepare(self) -> None:
        """Make the topics, then write the catalog and the history, which ends now."""
        create_topics(self._client, declare(self.prefix), N_PARTITIONS)
        catalog = KafkaWriter(self._client, f"{self.prefix}catalog")
        for item in self._world.items:
            catalog.write(item.item_id, encode(item))
        catalog.flush()
        events = KafkaWriter(self._client, f"{self.prefix}events")
        history = self._world.history
        shift = int(time.time() * 1_000) - history[-1].timestamp - 1_000
        for event in history:
            events.write(event.user_id, encode(replace(event, timestamp=event.timestamp + shift)))
        events.flush()

    def publish(self, sequence: Path) -> None:
        """Put a sequence model into service, as `eddy models publish` does."""
        writer = KafkaWriter(self._client, f"{self.prefix}model-updates")
        rows = rows_of_sequence(load_sequence_checkpoint(sequence), (), ())
        in_order(rows, lambda row: writer.write(row.key, row.value), writer.flush)

    def wait_until_learned(self, learning: FlowProcess, quiet_s: float = 2.5, deadline_s: float = 60.0) -> None:
        """Wait until the tables have come and stay quiet."""
        reader = self._reader("model-updates")
        deadline, quiet_since, seen = time.monotonic() + deadline_s, time.monotonic(), 0
        try:
            while time.monotonic() < deadline and (not seen or time.monotonic() - quiet_since < quiet_s):
                learning.check()
                if n := sum(len(batch.records) for batch in reader.poll(0.2)):
                    seen, quiet_since = seen + n, time.monotonic()
        finally:
            reader.close()

    def stream(
        self, flows: list[FlowProcess], console: Console, believed: Mapping[str, str], *, live: bool
    ) -> dict[str, Any]:
        """Write the stream at its pace, judge what comes back, draw it; returns the report.

        Parameters
        ----------
        believed : why a ranker may be believed, by its version.
        """
        reader = self._reader("recommendations", "assignments", "dead-letters")
        writer = KafkaWriter(self._client, f"{self.prefix}events")
        titles, n_events = self._world.titles, len(self._world.stream)
        self._await_first_slate(reader)
        started = time.time()
        try:
            with Live(console=console, refresh_per_second=4, transient=True) if live else console.status("") as view:

                def draw() -> None:
                    for flow in flows:
                        flow.check()
                    seconds = time.time() - started
                    if isinstance(view, Live):
                        recent = list(self._recent[self._shown.user_id]) if self._shown else []
                        view.update(live_view(self.judge, n_events, seconds, titles, recent, NOTICE, believed))
                    else:
                        done = f"{self.judge.n_events} of {n_events} events, {self.judge.n_slates} slates"
                        view.update(f"{NOTICE}: {done}")

                self._write_all(writer, reader, started, draw)
                writer.flush()
                seconds = time.time() - started
                self._settle(reader, draw)
        finally:
            reader.close()
        console.print(variants(self.judge))
        return self.judge.report(seconds)

    def show_results(self, console: Console) -> None:
        """Show what the experiment says, once `evaluate` has drained."""
        results = newest_results(scan(self._client, f"{self.prefix}experiment-results"))
        for result in results.values():
            show_result(result, console)

    def _reader(self, *topics: str) -> KafkaReader:
        return KafkaReader({**self._client, "fetch.wait.max.ms": 10}, [self.prefix + name for name in topics])

    def _await_first_slate(self, reader: KafkaReader) -> None:
        """Ask for one slate before the stream begins: writers are made at the first message of each partition."""
        requests = KafkaWriter(self._client, f"{self.prefix}requests")
        requests.write(FIRST, encode(Request(FIRST, FIRST, int(time.time() * 1_000))))
        requests.flush()
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if any(batch.topic.endswith("recommendations") for batch in reader.poll(0.1)):
                break
        while reader.poll(0.5):
            pass

    def _write_all(self, writer: KafkaWriter, reader: KafkaReader, started: float, draw: Callable[[], None]) -> None:
        next_frame = 0.0
        for event in self._world.stream:
            due = started + event.timestamp / 1_000
            while (wait := due - time.time()) > 0:
                self._receive(reader, min(wait, 0.005))
            self._receive(reader, 0)
            self._write(writer, replace(event, timestamp=int(due * 1_000)))
            if time.time() >= next_frame:
                next_frame = time.time() + FRAME_S
                draw()

    def _write(self, writer: KafkaWriter, event: Event) -> None:
        predicted_by = self.judge.write(event, time.time() * 1_000)
        self._recent[event.user_id].appendleft(event)
        if predicted_by is not None or self._shown is None:
            self._shown = event
        writer.write(event.user_id, encode(event))

    def _receive(self, reader: KafkaReader, timeout_s: float) -> None:
        for topic, _, records in reader.poll(timeout_s):
            if topic.endswith("recommendations"):
                for record in records:
                    self.judge.receive(decode_slate(record.value or b""), time.time() * 1_000)
            elif topic.endswith("assignments"):
                self.judge.n_assignments += len(records)
            else:
                self.judge.n_dead_letters += len(records)

    def _settle(self, reader: KafkaReader, draw: Callable[[], None]) -> None:
        deadline = time.monotonic() + SETTLE_S
        while self.judge.n_slates < self.judge.n_events and time.monotonic() < deadline:
            self._receive(reader, 0.1)
            draw()
