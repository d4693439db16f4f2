"""`eddy train`: a ranker from the past."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dataflows import settings as configuration
from dataflows.errors import EddyError
from dataflows.event_files import load_events, load_items

Events = Annotated[Path, typer.Argument(help="What happened: events, one a line, .jsonl or .jsonl.gz.")]
Catalog = Annotated[Path | None, typer.Option(help="The items: titles, categories, tags, prices. None: ids alone.")]
Name = Annotated[str | None, typer.Option(help="What the data is called, in the version of the ranker.")]
Out = Annotated[Path, typer.Option(help="The checkpoint, for EDDY_CHECKPOINT.")]


def train(events: Events, out: Out, catalog: Catalog = None, name: Name = None) -> None:
    """Train the ranker `mlp` on a file of events, and say what it is worth beside the blend.

    Walks once through the past in its order: at each event it makes the slate that the flow would have made, notes
    what the user did next, and only then learns the event. The first four fifths of the time train the ranker, the
    rest judges it. The same file gives the same ranker.
    """
    from models.ranking.train import TrainConfig  # noqa: PLC0415  # torch is slow
    from models.ranking.training import TrainingConfig, train  # noqa: PLC0415

    settings = configuration.load()
    console = Console(stderr=True)
    with console.status(f"reading {events}"):
        past = load_events(events, settings.events)
        items = load_items(catalog, settings.events) if catalog else []
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        walked = bar.add_task("walking through the past", total=len(past))
        fitted = bar.add_task("fitting", total=TrainConfig().max_epochs, visible=False)
        try:
            training = train(
                past,
                items,
                name or events.name.split(".")[0],
                out,
                TrainingConfig(),
                lambda n, of: bar.update(walked, completed=n, total=of),
                lambda epoch, loss, valid: bar.update(
                    fitted,
                    completed=epoch,
                    visible=True,
                    description=f"fitting, loss {loss:.3f}, validation {valid:.3f}",
                ),
            )
        except ValueError as error:
            raise EddyError(f"{events}: {error}") from error
        except OSError as error:
            raise EddyError(f"{out} cannot be written: {error.strerror}") from error
    table = Table(
        "ranker", "HR@10", "MRR", title=f"on the {training.verdicts[0].learned.n:,} slates after the training"
    )
    [verdict] = training.verdicts
    for ranker, earned in (("blend", verdict.blend), ("mlp", verdict.learned)):
        table.add_row(ranker, f"{earned.hit_rate:.4f}", f"{earned.mrr:.4f}")
    console.print(table)
    console.print(f"{training.checkpoint.version}: {training.n_examples:,} examples, in {out}", highlight=False)
