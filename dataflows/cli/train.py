"""`eddy train`: a ranker trained on past events."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dataflows.cli import train_sequence, train_sources
from dataflows.cli.progress import walking
from dataflows.cli.topic_messages import events_of, items_of
from dataflows.errors import EddyError
from dataflows.files.event_files import load_events, load_items, load_requests
from dataflows.files.outputs import require_writable
from dataflows.run import settings as configuration
from dataflows.run.resources import sequence_encoder, text_space
from dataflows.run.settings import Settings
from dataflows.topics import EVENTS
from models.messages import Event, Item, Request
from models.names import FUNNEL, FineTune, Loss, NetworkName
from models.offline.fitting import LEAST_EXAMPLES, MAX_EXAMPLES
from models.offline.train import Training, TrainingConfig, train
from models.offline.walk import WalkConfig
from models.rankers.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from models.rankers.fit import Report, TrainConfig
from models.sequence.config import SequenceTraining

Write: TypeAlias = Callable[[str, float, int], None]
"""Notes a figure by its name, its value and the epoch."""

FIT = TrainConfig()
"""What the options leave out is the same as in a backtest."""
SEQUENCE_FIT = SequenceTraining()

Events = Annotated[
    Path, typer.Argument(help="What happened: events, one a line, .jsonl or .jsonl.gz; or what `eddy import` reads.")
]
PastEvents = Annotated[
    Path | None,
    typer.Argument(
        help="What happened: events, one a line, .jsonl or .jsonl.gz; or what `eddy import` reads. None: what the "
        "topics `events` and `catalog` hold, of the cluster or in EDDY_TOPICS__FOLDER.",
        show_default=False,
    ),
]
Catalog = Annotated[Path | None, typer.Option(help="The items: titles, categories, tags, prices. None: ids alone.")]
Requests = Annotated[
    Path | None, typer.Option(help="Pages opened meanwhile: requests, one a line. None: events alone make slates.")
]
Name = Annotated[str | None, typer.Option(help="What the data is called, in the version of the ranker.")]
Out = Annotated[
    Path,
    typer.Option(
        help="The checkpoint, for EDDY_CHECKPOINT or `eddy models publish`; sources: weights, for EDDY_STRATEGY."
    ),
]
Kind = Annotated[
    Literal[NetworkName, "sequence", "sources"] | None,
    typer.Option(
        help="mlp: features alone; neumf: who, too; gru: what came before, too. sequence: no ranker, but what finds "
        "candidates by what came before. sources: what the candidate sources weigh, by the length of a session.",
        show_default="mlp, or the kind of --from",
    ),
]
LossOption = Annotated[
    Loss | None,
    typer.Option(help="softmax: first among all; cross_entropy, mse: each for itself.", show_default="softmax"),
]
Start = Annotated[
    Path | None, typer.Option("--from", help="A checkpoint to go on from, instead of a new network.", dir_okay=False)
]
Further = Annotated[FineTune, typer.Option(help="With --from: learn all weights, or a small correction beside them.")]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="At most so many; it stops once the newest slates get no better.",
        show_default=f"{FIT.max_epochs}; sequence: {SEQUENCE_FIT.max_epochs}",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        min=1e-6,
        help="Adam's learning rate.",
        show_default=f"{FIT.learning_rate:g}; sequence: {SEQUENCE_FIT.learning_rate:g}",
    ),
]
Decay = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Weight decay.",
        show_default=f"{FIT.weight_decay:g}; sequence: {SEQUENCE_FIT.weight_decay:g}",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Slates a step; sequence: runs of acts.",
        show_default=f"{FIT.batch_size}; sequence: {SEQUENCE_FIT.batch_size}",
    ),
]
MaxExamples = Annotated[int, typer.Option(min=2, help="At most about so many are kept, drawn at random; 18 KB each.")]
MinExamples = Annotated[int, typer.Option(min=2, help="With fewer, nothing is trained.")]
Seed = Annotated[int, typer.Option(help="Of the first weights and of the order of examples.")]
Device = Annotated[str, typer.Option(help="Where it computes: cpu, cuda.")]
Board = Annotated[Path | None, typer.Option(help="A folder for TensorBoard's logs; needs the extra `train`.")]


def train_ranker(
    out: Out,
    events: PastEvents = None,
    catalog: Catalog = None,
    requests: Requests = None,
    name: Name = None,
    model: Kind = None,
    loss: LossOption = None,
    start: Start = None,
    fine_tune: Further = "all",
    max_epochs: Epochs = None,
    learning_rate: Rate = None,
    weight_decay: Decay = None,
    batch_size: Batch = None,
    max_examples: MaxExamples = MAX_EXAMPLES,
    min_examples: MinExamples = LEAST_EXAMPLES,
    seed: Seed = 0,
    device: Device = "cpu",
    tensorboard: Board = None,
) -> None:
    """Train a ranker on past events, and say what it is worth beside the blend; or what finds candidates.

    Walks once through the past in its order: at each event and request it makes the slate that the flow would have made
    (by EDDY_STRATEGY, EDDY_EVENTS and EDDY_PROFILE), notes what the user did next, and only then learns the event. The
    first four fifths of the time make the examples, of which the newest fifth validates; then it is trained once more,
    on all of them, as in `eddy backtest`. The rest of the time judges. The same files give the same ranker.

    Set EDDY_CHECKPOINT to the file: `recommend` serves it to strategies that ask for its kind, and `learn` goes on
    from it where EDDY_RANKER__NAME says so.

    A sequence model learns what comes after what, among all items; what users did in the newest tenth of the time says
    when it is trained enough. The source `sequence` proposes by it, once `eddy models publish` has put it into service
    or EDDY_SEQUENCE_MODEL names its file. A ranker that is to know of it is trained with that setting, on events after
    those that the model has learned.

    `sources` fits what the candidate sources weigh in sessions of each length, on slates of the same walk; the newest
    ones say whether that is worth it, and else nothing is written. Set EDDY_STRATEGY__SOURCES_BY_SESSION to the file's
    text, before a ranker is trained: it learns on the candidates that it will get.
    """
    settings = configuration.load()
    console = Console(stderr=True)
    require_writable(out)
    past, items = read_past(events, catalog, settings, console, requests)
    given: dict[str, Any] = {
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "max_epochs": max_epochs,
    }
    asked = {name: value for name, value in given.items() if value is not None} | {"seed": seed}
    data_set = name or (events.name.split(".")[0] if events else f"{settings.topics.prefix}topics")
    if model == "sequence":
        with _board(tensorboard) as write:
            fit = replace(SEQUENCE_FIT, n_threads=os.cpu_count() or 1, **asked)
            train_sequence.train(past, items, data_set, out, start, fit, settings, console, write)
        return
    if model == "sources":
        train_sources.train(past, items, data_set, out, walk_config(settings), seed, console)
        return
    trained = load_trained(start, "--from") if start else None
    config = replace(
        FIT,
        kind=chosen_kind(trained, model, "--from", "--model"),
        loss=loss or (trained.loss if trained else FIT.loss),
        fine_tune=fine_tune,
        device=device,
        **asked,
    )
    with _board(tensorboard) as write:
        training_config = TrainingConfig(
            walk_config(settings), config, max_examples=max_examples, least_examples=min_examples
        )
        training = _train(past, items, data_set, out, training_config, trained, console, write)
        _show(training, config, console, write)
    console.print(f"{training.checkpoint.version}: {training.n_examples:,} examples, in {out}", highlight=False)


def read_past(
    events: Path | None, catalog: Path | None, settings: Settings, console: Console, requests: Path | None = None
) -> tuple[list[Event | Request], list[Item]]:
    """Read events, with requests among them by their times, and items: from files, or from the topics.

    Raises
    ------
    EddyError : a file or topic cannot be read, a line of a file is wrong, or there is no event.
    """
    with console.status(f"reading {events or 'the topics'}"):
        past: list[Event | Request] = [*(load_events(events, settings.events) if events else _of_topics(settings))]
        if requests:
            past = sorted([*past, *load_requests(requests, settings.events)], key=lambda message: message.timestamp)
        if catalog is None:
            return past, [] if events else list(items_of(settings).values())
        return past, load_items(catalog, settings.events)


def _of_topics(settings: Settings) -> list[Event]:
    events = sorted(events_of(settings), key=lambda event: event.timestamp)
    if not events:
        raise EddyError(
            f"the topic {settings.topics.prefix}{EVENTS.name} holds no event to learn from: name a file of events"
        )
    return events


def walk_config(settings: Settings) -> WalkConfig:
    """Say how the past is walked through: as the flows are set to go."""
    return WalkConfig(
        (settings.strategy,),
        settings.events,
        settings.profile,
        settings.learn,
        text_space(settings.learn),
        sequence_encoder(settings),
    )


def load_trained(path: Path, option: str) -> Checkpoint:
    """Load the checkpoint that an option names.

    Raises
    ------
    EddyError : it cannot be read, or is none for this release.
    """
    try:
        return load_checkpoint(path)
    except (OSError, CheckpointError) as error:
        raise EddyError(f"{option}: {error}") from error


def chosen_kind(trained: Checkpoint | None, asked: NetworkName | None, option: str, kind_option: str) -> NetworkName:
    """Say which kind of network is meant: the checkpoint's where there is one, else the one asked for, else an mlp.

    Raises
    ------
    typer.BadParameter : they are two, or it is a funnel.
    """
    if trained is None:
        return asked or FIT.kind
    if asked is not None and asked != trained.kind:
        raise typer.BadParameter(
            f"{option} holds the ranker {trained.kind!r}, not {asked!r}: leave {kind_option} away to go on with it, or "
            f"leave {option} away to begin a new one"
        )
    if trained.kind == FUNNEL:
        raise typer.BadParameter(
            f"{option} holds a funnel, which is learned from feedback alone: see EDDY_FUNNEL__LEARN"
        )
    return trained.kind


def _train(
    past: list[Event | Request],
    items: list[Item],
    name: str,
    out: Path,
    config: TrainingConfig,
    start: Checkpoint | None,
    console: Console,
    write: Write,
) -> Training:
    with walking(console) as bar:
        walked = bar.add_task("walking through the past", total=len(past))
        try:
            return train(
                past,
                items,
                name,
                out,
                config,
                lambda n, of: bar.update(walked, completed=n, total=of),
                _reporter(bar, write),
                start,
            )
        except ValueError as error:
            raise EddyError(f"{name}: {error}") from error
        except OSError as error:
            raise EddyError(f"{out} cannot be written: {error.strerror}") from error


def _reporter(bar: Progress, write: Write) -> Report:
    def report(epoch: int, loss: float, valid: float) -> None:
        bar.console.print(f"epoch {epoch}: loss {loss:.4f}, validation {valid:.4f}", highlight=False)
        write("loss/train", loss, epoch)
        write("loss/validation", valid, epoch)

    return report


def _show(training: Training, config: TrainConfig, console: Console, write: Write) -> None:
    [verdict] = training.verdicts
    table = Table("ranker", "HR@10", "MRR", "NDCG@10", title=f"on the {verdict.learned.n:,} slates after the training")
    for ranker, earned in (("blend", verdict.blend), (config.kind, verdict.learned)):
        table.add_row(ranker, f"{earned.hit_rate:.4f}", f"{earned.mrr:.4f}", f"{earned.ndcg:.4f}")
        for metric, value in (("hr", earned.hit_rate), ("mrr", earned.mrr), ("ndcg", earned.ndcg)):
            write(f"test/{metric}/{ranker}", value, 0)
    write("loss/test", verdict.loss, 0)
    console.print(table)
    console.print(f"test loss {verdict.loss:.4f}", highlight=False)


@contextmanager
def _board(folder: Path | None) -> Iterator[Write]:
    """Write figures to TensorBoard's logs, or nowhere."""
    if folder is None:
        yield lambda _name, _value, _epoch: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise EddyError("--tensorboard needs the extra `train`: pip install 'eddy-recs[train]'") from error
    writer = SummaryWriter(str(folder))
    try:
        yield writer.add_scalar
    finally:
        writer.close()
