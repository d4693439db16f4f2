"""`eddy run`: one process of one flow."""

import logging
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from dataflows import settings as configuration
from dataflows.runtime import Health, Stop, run_flow, serve_health
from dataflows.wiring import on_kafka


class Flow(StrEnum):
    """The flows that there are."""

    RECOMMEND = "recommend"
    LEARN = "learn"


def run(flow: Annotated[Flow, typer.Argument(help="Which flow to run.")]) -> None:
    """Run a flow until SIGTERM or Ctrl-C, which drain it: state is kept, nothing is lost, exit code 0.

    `recommend` reads events and requests and writes slates and assignments; `learn` reads events and the
    catalog and writes the item tables that recommend follows. Run both.

    Settings come from the environment: EDDY_KAFKA__BOOTSTRAP_SERVERS says where Kafka is, EDDY_RECOVERY__FOLDER where
    state survives a crash. `eddy doctor --settings` lists them all.
    """
    settings = configuration.load()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop, health = Stop(), Health()
    stop.on_signals()
    console = Console(stderr=True)
    with (
        serve_health(settings.http, flow, health) as port,
        on_kafka(flow, settings, stop, health) as dataflow,
    ):
        where = f"; health on http://{settings.http.host}:{port}/healthz" if port else ""
        console.print(f"[bold]{flow}[/bold] runs on {settings.kafka.bootstrap_servers}{where}", highlight=False)
        run_flow(dataflow, settings, flow)
    counts = ", ".join(f"{n} {name}" for name, n in sorted(health.counts.items())) or "nothing arrived"
    console.print(f"[bold]{flow}[/bold] has drained and stopped: {counts}", highlight=False)
