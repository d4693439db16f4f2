"""`eddy chaos`: kill the flows while events arrive, and count whether anything is lost or there twice."""

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dataflows.chaos.run import ChaosConfig
from dataflows.chaos.run import chaos as run_chaos
from dataflows.demo.broker import choose_broker

KEPT = ("lost", "duplicated", "state_jumps", "tables_differ")
"""What a promise says is 0."""


def chaos(
    kills: Annotated[int, typer.Option(help="Signals that end a process, at random moments.", min=1)] = 20,
    rate: Annotated[float, typer.Option(help="Events a second.", min=1)] = 100.0,
    processes: Annotated[int, typer.Option(help="Of recommend: 2 make a cluster.", min=1, max=8)] = 1,
    flows: Annotated[
        str, typer.Option(help="Flows that are killed, separated by commas.")
    ] = "recommend,learn,evaluate",
    seed: Annotated[int, typer.Option(help="The same seed draws the same faults.")] = 0,
    out: Annotated[Path | None, typer.Option("--json", help="Write what was counted to this file.")] = None,
    logs: Annotated[Path | None, typer.Option(help="Keep the flows' logs and stores in this folder.")] = None,
) -> None:
    """Kill the flows while events arrive, alone and in close pairs, and count what came of each event.

    On the cluster of EDDY_KAFKA__BOOTSTRAP_SERVERS, on Apache Kafka (KAFKA_HOME), else on the embedded broker.
    """
    console = Console(stderr=True)
    config = ChaosConfig(kills, rate, processes=processes, flows=tuple(flows.split(",")), seed=seed)
    with (
        tempfile.TemporaryDirectory(prefix="eddy-chaos-") as temporary,
        choose_broker(os.environ.get("EDDY_KAFKA__BOOTSTRAP_SERVERS"), os.environ.get("KAFKA_HOME")) as broker,
        console.status("starting the flows") as status,
    ):
        folder = logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run_chaos(
            broker.bootstrap_servers,
            folder,
            config,
            lambda what, n: status.update(f"{n} of {kills} kills: {what}"),
        )
    table = Table("promise", "found", title=f"{found['kills']} kills, {found['events']:,} events, {broker.description}")
    for name in KEPT:
        table.add_row(name.replace("_", " "), f"[{'green' if not found[name] else 'bold red'}]{found[name]}[/]")
    table.add_row("ready again after, s", f"{found['recovery_s']['median']} (at most {found['recovery_s']['max']})")
    console.print(table)
    if out is not None:
        out.write_text(json.dumps(found, indent=2) + "\n")
    if any(found[name] for name in KEPT):
        raise typer.Exit(1)
