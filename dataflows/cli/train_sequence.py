"""`eddy train --model sequence`: a sequence model trained on past events."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from rich.console import Console

from dataflows.cli.progress import walking
from dataflows.errors import EddyError
from dataflows.run.resources import text_space
from dataflows.run.settings import Settings
from models.counts.item_side import ItemSide
from models.messages import Event, Item, Request
from models.offline.train_sequence import SequenceTrainingConfig, TrainedSequence, train_sequence
from models.rankers.checkpoint import CheckpointError
from models.sequence.checkpoint import SequenceCheckpoint, load_sequence_checkpoint
from models.sequence.config import SequenceTraining
from models.sequence.fit import Report

Write: TypeAlias = Callable[[str, float, int], None]
"""Notes a figure by its name, its value and the epoch."""


def train(
    past: list[Event | Request],
    items: list[Item],
    name: str,
    out: Path,
    start: Path | None,
    fit: SequenceTraining,
    settings: Settings,
    console: Console,
    write: Write,
) -> TrainedSequence:
    """Train, and print what came of it.

    Raises
    ------
    EddyError : there is too little to learn from, or a file cannot be read or written.
    """
    events = [message for message in past if isinstance(message, Event)]
    side = ItemSide(
        items, events[0].timestamp, settings.learn, settings.events, settings.profile, text_space(settings.learn)
    )
    config = SequenceTrainingConfig(fit=fit, events=settings.events)
    with walking(console) as bar:
        task = bar.add_task("training, the newest acts left out", total=fit.max_epochs)

        def report(epoch: int, loss: float, ndcg: float) -> None:
            bar.update(task, completed=epoch, description="training" if ndcg else "training, on all")
            bar.console.print(f"epoch {epoch}: loss {loss:.4f}" + (f", NDCG@10 {ndcg:.4f}" if ndcg else ""))
            write("loss/train", loss, epoch)
            if ndcg:
                write("validation/ndcg", ndcg, epoch)

        trained = _trained(events, side, name, out, config, report, _start(start))
    console.print(
        f"{trained.checkpoint.version}: {trained.n_acts:,} acts; NDCG@10 {trained.ndcg:.4f} on "
        f"{trained.n_judged:,} of the newest acts, among {len(trained.checkpoint.vocabulary.items):,} items, before it "
        f"was trained on all, in {out}",
        highlight=False,
    )
    return trained


def _trained(
    events: list[Event],
    side: ItemSide,
    name: str,
    out: Path,
    config: SequenceTrainingConfig,
    report: Report,
    start: SequenceCheckpoint | None,
) -> TrainedSequence:
    try:
        return train_sequence(events, side.table, name, out, config, report, start)
    except ValueError as error:
        raise EddyError(f"{name}: {error}") from error
    except OSError as error:
        raise EddyError(f"{out} cannot be written: {error.strerror}") from error


def _start(path: Path | None) -> SequenceCheckpoint | None:
    try:
        return load_sequence_checkpoint(path) if path else None
    except (OSError, CheckpointError) as error:
        raise EddyError(f"--from: {error}") from error
