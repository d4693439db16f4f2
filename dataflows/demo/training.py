"""The demo's models: trained on people whom the stream does not show, and kept until code or data change."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

import dataflows.demo
import models
from dataflows.demo.world import World
from dataflows.errors import EddyError
from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.names import SEQUENCE
from models.offline.train import judge, train
from models.offline.train_sequence import SequenceTrainingConfig, train_sequence
from models.offline.walk import Progress, WalkConfig
from models.rankers.checkpoint import load_checkpoint
from models.sequence.checkpoint import load_sequence_checkpoint
from models.sequence.config import SequenceTraining
from models.strategy import Strategy

DATA_SET = "movielens"


def ranker_path(world: World, folder: Path) -> Path:
    """Say where the ranker is that this code trains on this data, or will be."""
    return folder / f"demo-ranker-{_digest(world)}.safetensors"


def trained_ranker(world: World, folder: Path, console: Console) -> Path:
    """Train a ranker on the world's practice, or find the one that was trained by the same code on the same data.

    Parameters
    ----------
    folder : where checkpoints are kept; made where it is missing.

    Returns
    -------
    The checkpoint's file.

    Raises
    ------
    EddyError : the folder cannot be written.
    """
    path = ranker_path(world, folder)
    if path.exists():
        console.print(f"ranker: as trained before ({path})", highlight=False)
        return path
    started = time.monotonic()
    with _training(console, f"training a ranker on {len(world.practice)} ratings of other users", folder) as progress:
        training = train(world.practice, world.items, DATA_SET, path, progress=progress)
    [verdict] = training.verdicts
    console.print(
        f"ranker: learned from {training.n_examples} slates in {time.monotonic() - started:.0f} s; on the "
        f"{verdict.learned.n} after them {verdict.learned.hit_rate:.1%} of the next films are among its first ten, "
        f"{verdict.blend.hit_rate:.1%} among the blend's ({path})",
        highlight=False,
    )
    return path


def trained_sequence(world: World, folder: Path, console: Console) -> Path:
    """Train a sequence model on the world's practice, or find the one of the same code and data; returns its file.

    Raises
    ------
    EddyError : the folder cannot be written.
    """
    path = folder / f"demo-sequence-{_digest(world)}.safetensors"
    if path.exists():
        console.print(f"sequence model: as trained before ({path})", highlight=False)
        return path
    started = time.monotonic()
    table = ItemSide(world.items, world.practice[0].timestamp, ItemSideConfig(), EventConfig(), ProfileConfig()).table
    config = SequenceTrainingConfig(fit=SequenceTraining(n_threads=os.cpu_count() or 1))
    of = config.fit.max_epochs
    with _training(console, "training a sequence model on them", folder) as progress:
        trained = train_sequence(
            world.practice, table, DATA_SET, path, config, lambda epoch, _loss, _ndcg: progress(epoch, of)
        )
    console.print(
        f"sequence model: learned from {trained.n_acts} ratings in {time.monotonic() - started:.0f} s; of "
        f"{trained.n_judged} next films NDCG@10 {trained.ndcg:.3f} among all {len(world.items)} ({path})",
        highlight=False,
    )
    return path


@contextmanager
def _training(console: Console, what: str, folder: Path) -> Iterator[Progress]:
    """Show progress, and make the folder in which the result is kept.

    Raises
    ------
    EddyError : it cannot be written.
    """
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            yield lambda n, of: bar.update(task, completed=n, total=of)
        except OSError as error:
            raise EddyError(f"what was trained cannot be kept: {error}; run the demo where it may write") from error


def why_believed(checkpoint: Path) -> dict[str, str]:
    """Say of a trained ranker, by its version, why it may be believed: what it was worth on people it never saw."""
    trained = load_checkpoint(checkpoint)
    [verdict] = trained.provenance["verdicts"]
    learned, blend = verdict[trained.kind]["hr@10"], verdict["blend"]["hr@10"]
    # Short, since half a narrow terminal has to hold it.
    return {trained.version: f"next film in its first ten: {learned:.1%}, in the blend's {blend:.1%}"}


def compared(world: World, checkpoint: Path, sequence: Path) -> dict[str, float]:
    """Judge on every slate of the streamed users the blend, the trained ranker, and the blend with a sequence model.

    Returns
    -------
    The slates judged, and of each way the share of the next films among its first ten.
    """
    begins_at = world.history[-1].timestamp + 1_000
    stream = [replace(event, timestamp=begins_at + event.timestamp) for event in world.stream]
    with_it = Strategy()
    without = replace(with_it, sources={name: weight for name, weight in with_it.sources.items() if name != SEQUENCE})
    config = WalkConfig((without, with_it), encoder=load_sequence_checkpoint(sequence).encoder())
    plain, sequenced = judge(load_checkpoint(checkpoint), [*world.history, *stream], world.items, begins_at, config)
    return {
        "n": plain.learned.n,
        "learned": round(plain.learned.hit_rate, 4),
        "blend": round(plain.blend.hit_rate, 4),
        "sequence": round(sequenced.blend.hit_rate, 4),
    }


def _digest(world: World) -> str:
    """Digest what a training depends on: the sources of the core and of the demo, and the data."""
    digest = hashlib.sha256()
    for package in (models, dataflows.demo):
        for folder in package.__path__:
            for source in sorted(Path(folder).rglob("*.py")):
                digest.update(source.read_bytes())
    digest.update(repr((world.items, world.practice)).encode())
    return digest.hexdigest()[:16]
