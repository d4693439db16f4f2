"""`eddy results`: what an experiment shows now."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from dataflows.cli.chance_figures import show_chances
from dataflows.cli.models import registry_of
from dataflows.cli.result_figures import show
from dataflows.errors import EddyError
from dataflows.files.source import FileSource, read_whole
from dataflows.kafka.reader import scan
from dataflows.records import Record
from dataflows.run import settings as configuration
from dataflows.run.settings import Settings
from dataflows.topics import EXPERIMENT_RESULTS, MODEL_UPDATES, Topic
from models.messages import ExperimentResult
from models.names import FUNNEL
from models.online.versions import Chances

Name = Annotated[str | None, typer.Argument(help="The experiment.", show_default="all that have results")]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write the result to this file, as it is on the topic.", show_default=False),
]


def results(experiment: Name = None, out: Json = None) -> None:
    """Show what an experiment says now: its figures by variant, and how the lift of its goal has moved.

    Look at any time, as often as you like: bounds and p-values hold at all looks together. An interval that excludes 0
    decides; until then the experiment is `running`. `mismatch` means that users were not split between the variants as
    planned: look for the fault, and trust no figure.

    With EDDY_FUNNEL__LEARN it begins with the chances that slates carried, beside what came of them.
    """
    settings, console = configuration.load(), Console()
    found = newest_results(_records(settings, EXPERIMENT_RESULTS))
    chances = _chances(settings) if settings.funnel.learn else None
    if chances is not None:
        show_chances(chances, console)
    if not found and experiment is None and chances is not None:
        return
    if not found:
        raise EddyError("there are no results yet: run `eddy run evaluate` with EDDY_EXPERIMENTS_FILE")
    if experiment is not None and experiment not in found:
        raise EddyError(f"no results of {experiment!r}; there are results of {', '.join(sorted(found))}")
    if out is not None and experiment is None:
        raise typer.BadParameter("--json writes one experiment: name it")
    for name in [experiment] if experiment else sorted(found):
        show(found[name], console)
    if out is not None and experiment is not None:
        try:
            out.write_bytes(msgspec.json.format(msgspec.json.encode(found[experiment])))
        except OSError as error:
            raise EddyError(f"{out} cannot be written: {error.strerror}") from error


def newest_results(records: Iterable[Record]) -> dict[str, ExperimentResult]:
    """Keep the newest result of each experiment.

    Raises
    ------
    EddyError : a record is no result.
    """
    decode = msgspec.json.Decoder(ExperimentResult).decode
    newest: dict[str, ExperimentResult] = {}
    for record in records:
        try:
            result = decode(record.value or b"")
        except msgspec.MsgspecError as error:
            where = f"{EXPERIMENT_RESULTS.name}/{record.partition}, offset {record.offset}"
            raise EddyError(f"{where} is no result: {error}") from error
        newest[result.experiment] = result
    return newest


def _chances(settings: Settings) -> Chances | None:
    """Return what is known of the chances that slates carried."""
    return registry_of(_records(settings, MODEL_UPDATES)).chances(FUNNEL)


def _records(settings: Settings, of: Topic) -> Iterator[Record]:
    topic = settings.topics.prefix + of.name
    if settings.topics.folder is None:
        yield from scan(settings.kafka.client(), topic)
    else:
        for batch in read_whole(FileSource(settings.topics.folder, topic, packed=of is MODEL_UPDATES, optional=True)):
            yield from batch
