"""`eddy results`: what an experiment says now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dataflows import settings as configuration
from dataflows.connectors.file_tables import read_whole
from dataflows.connectors.files import FileSource
from dataflows.connectors.kafka_scan import scan
from dataflows.errors import EddyError
from dataflows.lift_plot import plot_lifts
from dataflows.records import Record
from dataflows.settings import Settings
from dataflows.topics import EXPERIMENT_RESULTS
from models.experiments.metrics import METRICS
from models.messages import ExperimentResult, MetricResult, VariantResult

Name = Annotated[str | None, typer.Argument(help="The experiment.", show_default="all that have results")]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write the result to this file, as it is on the topic.", show_default=False),
]

LOOKS = {"winner": "bold green", "harmful": "bold red", "mismatch": "bold yellow", "no difference": "bold"}


def results(experiment: Name = None, out: Json = None) -> None:
    """Show what an experiment says now: its figures by variant, and how the lift of its goal has moved.

    It may be looked at any time, and as often as you like: bounds and p-values hold at all looks together. An interval
    that leaves out 0 decides; before that the experiment is `running`. A `mismatch` says that users did not fall into
    the variants as planned: then look for the fault, and trust no figure.
    """
    settings = configuration.load()
    found = newest_results(settings)
    if not found:
        raise EddyError("there are no results yet: run `eddy run evaluate` with EDDY_EXPERIMENTS_FILE")
    if experiment is not None and experiment not in found:
        raise EddyError(f"no results of {experiment!r}; there are results of {', '.join(sorted(found))}")
    if out is not None and experiment is None:
        raise typer.BadParameter("--json writes one experiment: name it")
    console = Console()
    for name in [experiment] if experiment else sorted(found):
        show(found[name], console)
    if out is not None and experiment is not None:
        try:
            out.write_bytes(msgspec.json.format(msgspec.json.encode(found[experiment])))
        except OSError as error:
            raise EddyError(f"{out} cannot be written: {error.strerror}") from error


def newest_results(settings: Settings) -> dict[str, ExperimentResult]:
    """Read the newest result of each experiment.

    Raises
    ------
    EddyError : the topic cannot be read, or holds something else.
    """
    decode = msgspec.json.Decoder(ExperimentResult).decode
    newest: dict[str, ExperimentResult] = {}
    for record in _records(settings):
        try:
            result = decode(record.value or b"")
        except msgspec.MsgspecError as error:
            where = f"{EXPERIMENT_RESULTS.name}/{record.partition}, offset {record.offset}"
            raise EddyError(f"{where} is no result: {error}") from error
        newest[result.experiment] = result
    return newest


def _records(settings: Settings) -> Iterator[Record]:
    topic = settings.topics.prefix + EXPERIMENT_RESULTS.name
    if settings.topics.folder is None:
        yield from scan(settings.kafka.client(), topic)
    else:
        for batch in read_whole(FileSource(settings.topics.folder, topic, optional=True)):
            yield from batch


def show(result: ExperimentResult, console: Console) -> None:
    """Print a result: verdict, a table of all metrics, and the goal's lifts over time."""
    look = LOOKS.get(result.verdict, "cyan")
    delta = f" within {result.delta:.1%}" if result.verdict == "no difference" else ""
    console.print(f"\n[bold]{result.experiment}[/bold]: [{look}]{result.verdict}{delta}[/{look}]", highlight=False)
    console.print(_facts(result), highlight=False)
    console.print(_table(result))
    is_interleaved = len(result.variants) == 1
    for treatment in result.history[-1].lifts if result.history else ():
        control = "the other, wanted items a user" if is_interleaved else result.variants[0].variant
        title = f"{'credit' if is_interleaved else 'lift'} of {result.goal}, {treatment} over {control}"
        console.print(plot_lifts(result.history, treatment, title), highlight=False)


def _facts(result: ExperimentResult) -> str:
    users = sum(variant.users for variant in result.variants)
    facts = [
        f"goal {result.goal}",
        f"{users:,} users",
        f"alpha {result.alpha:g} at all looks together",
        f"users as planned: p = {result.mismatch_p:.3g}",
        f"impressions are {'slates' if result.impressions == 'slate' else 'the events of the platform'}",
    ]
    if result.decision is not None:
        facts.append(f"first decided: {result.decision.verdict}, at {result.decision.users:,} users")
    return "; ".join(facts)


def _table(result: ExperimentResult) -> Table:
    control, *treatments = result.variants
    table = Table("metric", f"{control.variant}\n{_size(control)}")
    for treatment in treatments:
        table.add_column(f"{treatment.variant}\n{_size(treatment)}")
        table.add_column("lift\n(bounds)")
    for place, metric in enumerate(METRICS):
        name = f"[bold]{metric.name}[/bold]" if metric.name == result.goal else metric.name
        cells = [_value(control.metrics[place])]
        for treatment in treatments:
            measured = treatment.metrics[place]
            look = LOOKS.get(measured.verdict or "", "")
            lift = _lift(measured)
            cells += [_value(measured), f"[{look}]{lift}[/{look}]" if look else lift]
        table.add_row(name, *cells)
    table.add_section()
    table.add_row("coverage", *_beside(f"{variant.coverage:,} items" for variant in result.variants))
    table.add_row("traffic from now", *_beside(f"{variant.traffic:.0%}" for variant in result.variants))
    return table


def _beside(cells: Iterator[str]) -> Iterator[str]:
    """Leave the column of each treatment's lift empty."""
    for number, cell in enumerate(cells):
        yield cell
        if number:
            yield ""


def _size(variant: VariantResult) -> str:
    return f"{variant.users:,} users"


def _value(measured: MetricResult) -> str:
    return "-" if measured.error is None else f"{measured.value:.4g} ± {measured.error:.2g}"


def _lift(measured: MetricResult) -> str:
    low, high = measured.lift or (None, None)
    return "not known yet" if low is None or high is None else f"{low:+.1%} to {high:+.1%}"
