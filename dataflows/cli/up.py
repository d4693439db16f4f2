"""`eddy up`: a broker, the topics, the flows and the door, in one command."""

import os
import shlex
import signal
import socket
import tempfile
import threading
import time
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dataflows.demo.broker import choose_broker
from dataflows.demo.broker_process import Broker, free_port
from dataflows.demo.flow_process import FlowProcess, running_flows
from dataflows.errors import EddyError
from dataflows.kafka.admin import create_topics
from dataflows.run import settings as configuration
from dataflows.run.infrastructure import KafkaSettings, ServeSettings
from dataflows.run.settings import Settings
from dataflows.topics import declare

FRAME_S = 0.5
PATIENCE = "a first start compiles the kernels, which takes minutes; the next take seconds"
PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
"""What is copied from a terminal may not be wrapped."""
NO_EXPERIMENTS = "off: declare experiments in eddy.yaml or a file (EDDY_EXPERIMENTS_FILE), and it says what works"


def up(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keep the broker's data, the flows' state and their logs here.",
            show_default="a temporary folder",
            file_okay=False,
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the live page in a browser.")] = True,
) -> None:
    """Run everything on this machine until Ctrl-C: a broker, the topics, the three flows, and the HTTP door.

    The broker is the cluster of EDDY_KAFKA__BOOTSTRAP_SERVERS, else Apache Kafka where KAFKA_HOME says, else the
    embedded one. The door's address is printed: it serves slates, takes events, and shows the live page.
    """
    settings = configuration.load()
    console = Console(stderr=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eddy-up-")))
        place.mkdir(parents=True, exist_ok=True)
        servers = settings.kafka.bootstrap_servers if settings.kafka.names_a_cluster else None
        with console.status("starting the broker"):
            broker = stack.enter_context(choose_broker(servers, os.environ.get("KAFKA_HOME"), place / "broker"))
            _make_topics(settings, broker)
        processes = stack.enter_context(running_flows(flows_of(settings), environment_of(settings, broker), place))
        door = processes[-1]
        _show(processes, broker, settings, console, stop)
        if not stop.is_set():
            _announce(door, broker, settings, place, console)
            if browser and console.is_terminal:
                webbrowser.open(address_of(door))
        while not stop.wait(FRAME_S):
            for process in processes:
                process.check()
        console.print("draining the flows; their state is kept" if folder else "draining the flows")


def flows_of(settings: Settings) -> tuple[str, ...]:
    """Name what runs, the door last; `evaluate` needs something to judge."""
    judging = ("evaluate",) if settings.has_experiments else ()
    return ("learn", "recommend", *judging, "serve")


def environment_of(settings: Settings, broker: Broker) -> dict[str, str]:
    """Say what all processes share beside this one's own environment."""
    return {
        "EDDY_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "EDDY_SERVE__PORT": str(_port(settings.serve)),
    }


def address_of(door: FlowProcess) -> str:
    """Return where the door answers."""
    return f"http://127.0.0.1:{door.port}"


def _port(serve: ServeSettings) -> int:
    """Return the door's port, or another where that is taken and nobody asked for it.

    Raises
    ------
    EddyError : the port that was asked for is taken.
    """
    wanted = serve.port
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", wanted))
        except OSError:
            if "port" in serve.model_fields_set:
                raise EddyError(
                    f"port {wanted} is taken: choose another EDDY_SERVE__PORT (0 takes a free one)"
                ) from None
            found = free_port()
            Console(stderr=True).print(f"port {wanted} is taken, so the door takes {found}", **PLAIN)
            return found
        return int(trial.getsockname()[1])


def _make_topics(settings: Settings, broker: Broker) -> None:
    kafka = KafkaSettings(**{**dict(settings.kafka), "bootstrap_servers": broker.bootstrap_servers})
    # Each flow is one process here: more partitions would bring it more writers and no more speed.
    n_partitions = settings.topics.partitions if broker.kind == "cluster" else 1
    create_topics(kafka.client(), declare(settings.topics.prefix), n_partitions, settings.topics.replication)


def _show(
    processes: list[FlowProcess], broker: Broker, settings: Settings, console: Console, stop: threading.Event
) -> None:
    """Show how the processes come up, until all are ready: one view, or where nobody looks a line for each."""
    started = time.monotonic()
    ready: dict[str, float] = {}
    if not console.is_terminal:
        console.print(f"broker: {broker.description}, {broker.bootstrap_servers}; {PATIENCE}", **PLAIN)
        if not settings.has_experiments:
            console.print(f"evaluate: {NO_EXPERIMENTS}", **PLAIN)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while len(ready) < len(processes) and not stop.wait(FRAME_S):
            for process in processes:
                process.check()
                if process.flow not in ready and process.is_ready():
                    ready[process.flow] = took = time.monotonic() - started
                    if not console.is_terminal:
                        console.print(f"{process.flow}: ready after {took:.0f} s, {_probe(process)}", **PLAIN)
            if console.is_terminal:
                live.update(Group(_status(processes, ready, broker, settings), Text(PATIENCE, "dim")))
    if console.is_terminal:
        console.print(_status(processes, ready, broker, settings))


def _status(
    processes: list[FlowProcess], ready: dict[str, float], broker: Broker, settings: Settings
) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "state", "health"):
        table.add_column(heading, overflow="fold")
    table.add_row("broker", Text("ready", "green"), f"{broker.description}, {broker.bootstrap_servers}")
    for process in processes:
        took = ready.get(process.flow)
        state = Text("starting", "yellow") if took is None else Text(f"ready after {took:.0f} s", "green")
        table.add_row(process.flow, state, _probe(process))
    if not settings.has_experiments:
        table.add_row("evaluate", Text("off", "dim"), Text(NO_EXPERIMENTS, "dim"))
    return table


def _probe(process: FlowProcess) -> str:
    return f"http://127.0.0.1:{process.port}/readyz"


def _announce(door: FlowProcess, broker: Broker, settings: Settings, place: Path, console: Console) -> None:
    at, prefix = address_of(door), settings.topics.prefix
    shared = [f"export EDDY_KAFKA__BOOTSTRAP_SERVERS={broker.bootstrap_servers}"]
    shared += [f"export EDDY_TOPICS__PREFIX={prefix}"] if prefix else []
    shared += [] if broker.kind == "cluster" else ["export EDDY_TOPICS__PARTITIONS=1"]
    shared += [f"export EDDY_RECOVERY__FOLDER={shlex.quote(str(place.resolve() / 'recovery'))}"]
    console.print(f"\nthe live page: [bold]{at}[/bold]", highlight=False, soft_wrap=True)
    console.print(
        f"a slate:       curl {at}/users/u-7/slate\n"
        f"an event:      curl {at}/events -d "
        '\'{"user_id": "u-7", "item_id": "i-42", "event_type": "click"}\'\n'
        f"for eddy's other commands: {'; '.join(shared)}\nCtrl-C ends all.",
        **PLAIN,
    )
