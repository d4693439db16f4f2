"""`eddy run`: one process of one flow."""

from typing import Annotated, Literal

import typer

from dataflows.run import settings as configuration
from dataflows.run.logs import announce
from dataflows.run.recovery_store import store_folder
from dataflows.run.runtime import run_flow
from dataflows.run.worker import open_worker

Flow = Annotated[Literal["recommend", "learn", "evaluate"], typer.Argument(help="Which flow to run.")]


def run(flow: Flow) -> None:
    """Run a flow until SIGTERM or Ctrl-C, which drain it: state is kept, nothing is lost, exit code 0.

    `recommend` reads events and requests and writes slates and assignments; `learn` reads events and the
    catalog and writes the item tables that recommend follows. Run both. `evaluate` reads what users did with what they
    were shown and writes what the experiments say.

    Settings come from `eddy.yaml` and the environment: EDDY_KAFKA__BOOTSTRAP_SERVERS says where Kafka is,
    EDDY_RECOVERY__FOLDER where state survives a crash. `eddy doctor --settings` lists them all.
    """
    settings = configuration.load()
    with open_worker(flow, settings, store_folder(settings, flow)) as worker:
        run_flow(worker.dataflow, settings, flow)
    counts = ", ".join(f"{n} {name}" for name, n in sorted(worker.health.counts.items())) or "nothing arrived"
    announce(f"[bold]{flow}[/bold] has drained and stopped: {counts}", settings.log_format)
