"""`eddy models`: the versions of rankers and of the sequence model, and which of them serves."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dataflows.cli.chance_figures import show_chances
from dataflows.cli.follow_sequence import follow
from dataflows.cli.topics import load_for_cluster
from dataflows.errors import EddyError
from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.topics import MODEL_UPDATES
from models.names import FUNNEL, SEQUENCE
from models.online.registry import VersionRegistry
from models.online.versions import NDCG, PREFIX, Row, Version, in_order, pin_row, rows_of_sequence
from models.rankers.checkpoint import CheckpointError
from models.sequence.checkpoint import load_sequence_checkpoint

HELP = """
List the versions of rankers and of the sequence model, and choose which of them serves.

`learn` puts a version into service where it is better than the one before it on the newest slates, and takes it back
where it turns out worse. `promote` and `rollback` overrule it: the version that you choose serves until `release`
gives the choice back. `recommend` follows within moments, between two batches.

A sequence model is trained by `eddy train --model sequence`, `publish` puts it into service, and `follow` lets it go on
learning.
"""

GAINS = ("gain", "pairwise_auc", NDCG)
"""Under which name the evidence of a version holds what it earned, of this release and of earlier ones."""
MOST_TOLD = 300
"""Characters of what is said of a row that cannot be read."""

app = typer.Typer(name="models", help=HELP, no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The ranker: `mlp`, or `mlp.left` for a variant's own.")]


@app.command("list")
def list_versions() -> None:
    """List every ranker's newest versions: the evidence for each, and which one serves.

    The gain is the discounted cumulative gain of what users acted on, weighted by how seldom its position is looked at,
    on slates that the version had not learned from; `before it` is that of the version it replaced, on the same slates.
    Versions of earlier releases show their pairwise AUC. Of the `funnel` it is the log-likelihood, and a version that
    is only `calibrated` has the weights of the one before it; below the table is whether what slates said came true.
    Of `sequence` it is the NDCG@10 of acts that it had not learned, among all items, and how many they were; of a
    version that `follow` made, 1 / the rank of such acts among items that were drawn.
    """
    settings = load_for_cluster()
    registry = _registry(settings)
    table = Table("ranker", "version", "serves", "decided", "learned until", "slates", "gain", "before it")
    for name in registry.names:
        pin, serving = registry.pinned(name), registry.serving(name)
        for version in registry.versions(name):
            mark = "" if version.version != serving.version else "pinned" if pin else "yes"
            evidence = version.evidence
            table.add_row(
                name,
                version.version,
                mark,
                version.decision,
                datetime.fromtimestamp(version.learned_until / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                f"{evidence.get('n_slates', 0):,.0f}",
                f"{next((evidence[name] for name in GAINS if name in evidence), 0):.4f}",
                f"{evidence.get('replaced', 0):.4f}",
            )
    if not registry.names:
        typer.echo(
            "no ranker has been published yet: EDDY_RANKER__NAME says which one `eddy run learn` trains, and "
            "EDDY_FUNNEL__LEARN whether it learns the funnel"
        )
        return
    console = Console()
    console.print(table)
    if (chances := registry.chances(FUNNEL)) is not None:
        show_chances(chances, console)


@app.command("publish")
def publish(
    checkpoint: Annotated[Path, typer.Argument(help="What `eddy train --model sequence` wrote.", dir_okay=False)],
) -> None:
    """Put a sequence model into service: every `recommend` takes it over within moments, without a restart.

    It travels on model-updates, so it takes the place of the file that EDDY_SEQUENCE_MODEL names. Two versions before
    it are kept: `rollback sequence` goes back. Train the next one with `--from` this one, say every night.
    """
    settings = load_for_cluster()
    try:
        model = load_sequence_checkpoint(checkpoint)
    except (OSError, CheckpointError) as error:
        raise EddyError(f"{error}; rankers are published by `learn`, which begins with EDDY_CHECKPOINT") from error
    registry = _registry(settings)
    known = registry.versions(SEQUENCE)
    if any(version.version == model.version for version in known):
        raise EddyError(f"{model.version} is published already: `eddy models promote {SEQUENCE} {model.version}`")
    try:
        _write(settings, rows_of_sequence(model, known, registry.in_use(SEQUENCE)))
    except ValueError as error:
        raise EddyError(str(error)) from error
    pinned = registry.pinned(SEQUENCE)
    typer.echo(
        f"{model.version} is published, and {pinned.version} goes on serving until `eddy models release {SEQUENCE}`"
        if pinned
        else f"{model.version} serves, wherever a strategy's sources give `{SEQUENCE}` a weight"
    )


app.command("follow")(follow)


@app.command("promote")
def promote(name: Name, version: Annotated[str, typer.Argument(help="As `list` names it.")]) -> None:
    """Put a version into service and keep it there, whatever `learn` finds."""
    settings = load_for_cluster()
    known = _versions(_registry(settings), name)
    found = next((one for one in known if one.version == version), None)
    if found is None:
        raise EddyError(f"{name} has no version {version}: it has {', '.join(one.version for one in known)}")
    _pin(settings, name, found)


@app.command("rollback")
def rollback(name: Name) -> None:
    """Put the version before the one that serves into service and keep it there."""
    settings = load_for_cluster()
    registry = _registry(settings)
    _versions(registry, name)
    older = registry.before(name)
    if older is None:
        serving = registry.serving(name).version or "the blend"
        raise EddyError(f"{name}: nothing older than {serving} is kept to go back to")
    _pin(settings, name, older)


@app.command("release")
def release(name: Name) -> None:
    """Let `learn` decide again which version serves."""
    settings = load_for_cluster()
    registry = _registry(settings)
    _versions(registry, name)
    if registry.pinned(name) is None:
        raise EddyError(f"{name}: nobody has chosen a version, `learn` decides already")
    _pin(settings, name, None)


def _registry(settings: Settings) -> VersionRegistry:
    with Console(stderr=True).status("reading the versions"):
        return registry_of(scan(settings.kafka.client(), settings.topics.prefix + MODEL_UPDATES.name))


def registry_of(records: Iterable[Record]) -> VersionRegistry:
    """Put versions together from rows of `model-updates`; what is malformed is left out and told, as in the flows."""
    registry = VersionRegistry()
    for record in records:
        if (record.key or b"").startswith(PREFIX):
            try:
                registry.take(record.key or b"", record.value)
            except ValueError as error:
                typer.secho(f"left out: {_printable(str(error))}", fg="yellow", err=True)
    return registry


def _printable(text: str) -> str:
    return repr(text[:MOST_TOLD])[1:-1]


def _versions(registry: VersionRegistry, name: str) -> list[Version]:
    versions = registry.versions(name)
    if not versions:
        known = f"there are {', '.join(registry.names)}" if registry.names else "none has been published yet"
        raise EddyError(f"no ranker {name!r} has versions: {known}")
    return versions


def _pin(settings: Settings, name: str, version: Version | None) -> None:
    _write(settings, [pin_row(name, version)])
    again = "the newest one serves again" if name == SEQUENCE else "`learn` decides again"
    answer = f"{version.version} serves until `eddy models release {name}`" if version else again
    typer.echo(f"{name}: {answer}")


def _write(settings: Settings, rows: Iterable[Row]) -> None:
    client = settings.kafka.client() | settings.kafka.producer_options
    writer = KafkaWriter(client, settings.topics.prefix + MODEL_UPDATES.name)
    in_order(rows, lambda row: writer.write(row.key, row.value), writer.flush)
