"""`eddy chaos`: kill the flows while events arrive, and count whether anything is lost or there twice."""

import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dataflows.chaos.faults import FAULTS
from dataflows.chaos.floods import FLOODS, FloodConfig
from dataflows.chaos.floods import flood as run_flood
from dataflows.chaos.run import ChaosConfig
from dataflows.chaos.run import chaos as run_chaos
from dataflows.demo.broker import choose_broker
from dataflows.topics import FLOWS

KEPT = ("lost", "duplicated", "state_jumps", "tables_differ", "results_differ")
"""What a promise says is 0."""
NAMES = tuple(fault.name for fault in FAULTS)


class _Screen:
    """Shows the kills so far, the fault at hand and the events sent; a line a fault where nobody looks."""

    def __init__(self, console: Console, n_kills: int) -> None:
        columns = BarColumn(), MofNCompleteColumn(), TextColumn("kills, {task.fields[n_events]:,} events:")
        self._bar = Progress(*columns, TextColumn("{task.description}"), TimeElapsedColumn(), console=console)
        self._task = self._bar.add_task("starting the flows", total=n_kills, n_events=0)
        self._console = console

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, what: str, n_kills: int) -> None:
        self._bar.update(self._task, description=what, completed=n_kills)
        if not self._console.is_terminal:
            self._console.print(f"{n_kills} kills, {self._bar.tasks[0].fields['n_events']:,} events: {what}")

    def count(self, n_events: int) -> None:
        self._bar.update(self._task, n_events=n_events)


def chaos(
    kills: Annotated[int, typer.Option(help="Signals that end a process, at random moments.", min=1)] = 20,
    rate: Annotated[float, typer.Option(help="Events a second.", min=1)] = 100.0,
    processes: Annotated[int, typer.Option(help="Of recommend: each start has 1 up to so many.", min=1, max=8)] = 2,
    flows: Annotated[
        str | None, typer.Option(help="Flows that run and are killed, separated by commas.", show_default="all")
    ] = None,
    faults: Annotated[str | None, typer.Option(help=f"Only these of: {', '.join(NAMES)}.", show_default="all")] = None,
    epochs: Annotated[str, typer.Option(help="Seconds between snapshots, of each start one of these.")] = "1,20",
    flood: Annotated[
        str | None, typer.Option(help=f"Flood instead of kill: {', '.join(FLOODS)}.", show_default=False)
    ] = None,
    size: Annotated[int | None, typer.Option(help="Events of a flood.", min=1, show_default="50,000")] = None,
    seconds: Annotated[float, typer.Option(help="Of an overload.", min=1)] = 60.0,
    seed: Annotated[int, typer.Option(help="The same seed draws the same faults.")] = 0,
    out: Annotated[Path | None, typer.Option("--json", help="Write what was counted to this file.")] = None,
    logs: Annotated[Path | None, typer.Option(help="Keep the flows' logs and stores in this folder.")] = None,
) -> None:
    """Kill the flows while events arrive, alone and in close pairs, and count what came of each event.

    On the cluster of EDDY_KAFKA__BOOTSTRAP_SERVERS, on Apache Kafka (KAFKA_HOME), else on the embedded broker.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    console = Console(stderr=True)
    struck, strikes = _among(tuple(FLOWS), "flows", flows), _among(NAMES, "faults", faults)
    if flood is not None:
        _among(tuple(FLOODS), "flood", flood)
    with (
        tempfile.TemporaryDirectory(prefix="eddy-chaos-") as temporary,
        choose_broker(os.environ.get("EDDY_KAFKA__BOOTSTRAP_SERVERS"), os.environ.get("KAFKA_HOME")) as broker,
        _Screen(console, 0 if flood else kills) as screen,
    ):
        folder = logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if flood is None:
            config = ChaosConfig(
                kills, rate, processes=processes, flows=struck, faults=strikes, epochs_s=_seconds(epochs), seed=seed
            )
            found = run_chaos(broker.bootstrap_servers, folder, config, screen)
        else:
            flooding = FloodConfig(flood, size, seconds, struck, seed=seed)
            found = run_flood(broker.bootstrap_servers, folder, flooding, screen)
    _show(found, broker.description, console)
    if out is not None:
        out.write_text(json.dumps(found, indent=2) + "\n")
    if any(found.get(name) for name in KEPT):
        raise typer.Exit(1)


def _interrupt(_number: int, _frame: object) -> None:
    """End the run, and let nothing end that: a second signal amid the clearing up would leave flows behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _among(known: tuple[str, ...], option: str, given: str | None) -> tuple[str, ...]:
    """Read a list of names.

    Raises
    ------
    typer.BadParameter : one is unknown.
    """
    names = known if given is None else tuple(name.strip() for name in given.split(","))
    if unknown := set(names) - set(known):
        raise typer.BadParameter(f"--{option}: there is no {', '.join(sorted(unknown))} among {', '.join(known)}")
    return names


def _seconds(given: str) -> tuple[int, ...]:
    """Read a list of whole seconds.

    Raises
    ------
    typer.BadParameter : it is none.
    """
    if not all(part.strip().isdecimal() for part in given.split(",")):
        raise typer.BadParameter(f"--epochs: {given!r} are no whole seconds separated by commas, such as 1,20")
    return tuple(map(int, given.split(",")))


def _show(found: dict[str, Any], broker: str, console: Console) -> None:
    what = f"flood {found['flood']}" if "flood" in found else f"{found['kills']} kills"
    table = Table("promise", "found", title=f"{what}, {found['events']:,} events, {broker}")
    for name in KEPT:
        if name in found:
            table.add_row(name.replace("_", " "), f"[{'green' if not found[name] else 'bold red'}]{found[name]}[/]")
    if "flood" in found:
        _add_flood(found, table)
    else:
        ready = found["recovery_s"]
        table.add_row("ready again after, s", f"{ready['median']} (at most {ready['max']})")
    console.print(table)


def _add_flood(found: dict[str, Any], table: Table) -> None:
    table.add_row("events written a second", f"{found['events_a_second']:,}")
    table.add_row("slates a second", f"{found['slates_a_second']:,}")
    for flow, seen in found["flows"].items():
        memory, pause = seen["memory_mb"], seen["longest_pause_s"]
        table.add_row(f"{flow}: caught up after, s", f"{found['catch_up_s'][flow]}")
        table.add_row(f"{flow}: drained within, s", f"{found['drained_s'][flow]}")
        table.add_row(f"{flow}: memory, MB", f"{memory['start']}, {memory['half']} at half, at most {memory['peak']}")
        table.add_row(f"{flow}: longest pause, s", f"{pause['work']}, for a snapshot {pause['snapshot']}")
