"""`eddy models`: the versions of the rankers that `learn` has published, and which of them serves."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dataflows.cli.chance_figures import show_chances
from dataflows.cli.topics import load_for_cluster
from dataflows.errors import EddyError
from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.topics import MODEL_UPDATES
from models.names import FUNNEL
from models.online.registry import PREFIX, Version, VersionRegistry, pin_row

HELP = """
List the versions of the rankers that `learn` has published, and choose which of them serves.

`learn` puts a version into service where it is better than the one before it on the newest slates, and takes it back
where it turns out worse. `promote` and `rollback` overrule it: the version that you choose serves until `release`
gives the choice back. `recommend` follows within moments, between two batches.
"""

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
                f"{evidence.get('gain', evidence.get('pairwise_auc', 0)):.4f}",
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
    client = settings.kafka.client() | settings.kafka.producer_options
    writer = KafkaWriter(client, settings.topics.prefix + MODEL_UPDATES.name)
    row = pin_row(name, version)
    writer.write(row.key, row.value)
    writer.flush()
    answer = f"{version.version} serves until `eddy models release {name}`" if version else "`learn` decides again"
    typer.echo(f"{name}: {answer}")
