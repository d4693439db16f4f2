"""The demo's ranker: trained on people whom the stream does not show, and kept until code or data change."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

import dataflows.demo
import models
from dataflows.demo.world import World
from dataflows.errors import EddyError
from models.offline.train import judge, train
from models.rankers.checkpoint import load_checkpoint


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
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"training a ranker on {len(world.practice)} ratings of other users", total=None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            training = train(
                world.practice,
                world.items,
                "movielens",
                path,
                progress=lambda n, of: bar.update(task, completed=n, total=of),
            )
        except OSError as error:
            raise EddyError(f"the ranker cannot be kept: {error}; run the demo where it may write") from error
    [verdict] = training.verdicts
    console.print(
        f"ranker: learned from {training.n_examples} slates in {time.monotonic() - started:.0f} s; on the "
        f"{verdict.learned.n} after them {verdict.learned.hit_rate:.1%} of the next films are among its first ten, "
        f"{verdict.blend.hit_rate:.1%} among the blend's ({path})",
        highlight=False,
    )
    return path


def why_believed(checkpoint: Path) -> dict[str, str]:
    """Say of a trained ranker, by its version, why it may be believed: what it was worth on people it never saw."""
    trained = load_checkpoint(checkpoint)
    [verdict] = trained.provenance["verdicts"]
    learned, blend = verdict[trained.kind]["hr@10"], verdict["blend"]["hr@10"]
    # Short, since half a narrow terminal has to hold it.
    return {trained.version: f"next film in its first ten: {learned:.1%}, in the blend's {blend:.1%}"}


def both_rankers(world: World, checkpoint: Path) -> dict[str, float]:
    """Judge the trained ranker and the blend on every slate of the streamed users: both order the same candidates.

    Returns
    -------
    The slates judged, and of each ranker the share of the next films among its first ten.
    """
    begins_at = world.history[-1].timestamp + 1_000
    stream = [replace(event, timestamp=begins_at + event.timestamp) for event in world.stream]
    verdict = judge(load_checkpoint(checkpoint), [*world.history, *stream], world.items, begins_at)
    return {
        "n": verdict.learned.n,
        "learned": round(verdict.learned.hit_rate, 4),
        "blend": round(verdict.blend.hit_rate, 4),
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
