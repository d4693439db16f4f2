"""`eddy models`: the versions of the rankers that `learn` has published, and which of them serves."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dataflows.cli.topics import load_for_cluster
from dataflows.errors import EddyError
from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.run.settings import Settings
from dataflows.topics import MODEL_UPDATES
from models.online.registry import PREFIX, Shelf, Version, pin_row

HELP = """
List the versions of the rankers that `learn` has published, and choose which of them serves.

`learn` puts a version into service where it is better than the one before it on the newest slates, and takes it back
where it turns out worse. `promote` and `rollback` overrule it: the version that a person has chosen serves until
`release` gives the choice back. `recommend` follows within moments, between two batches.
"""

app = typer.Typer(name="models", help=HELP, no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The ranker: `mlp`, or `mlp.left` for a variant's own.")]


@app.command("list")
def list_versions() -> None:
    """List every ranker's newest versions: what they earned, and which one serves."""
    settings = load_for_cluster()
    shelf = _shelf(settings)
    table = Table("ranker", "version", "serves", "decided", "learned until", "slates", "concordance", "before it")
    for name in shelf.names:
        pin, chosen = shelf.pinned(name), shelf.chosen(name)
        serving = pin or chosen
        for version in shelf.versions(name):
            mark = "" if version.version != serving.version else "pinned" if pin else "yes"
            told = version.told
            table.add_row(
                name,
                version.version,
                mark,
                "rollback" if version.is_rollback else "better" if told else "begun anew",
                datetime.fromtimestamp(version.learned_until / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                f"{told.get('n_slates', 0):,.0f}",
                f"{told.get('concordance', 0):.4f}",
                f"{told.get('replaced', 0):.4f}",
            )
    if not shelf.names:
        typer.echo("no ranker has been published yet: EDDY_RANKER__NAME says which one `eddy run learn` trains")
        return
    Console().print(table)


@app.command("promote")
def promote(name: Name, version: Annotated[str, typer.Argument(help="As `list` names it.")]) -> None:
    """Put a version into service and keep it there, whatever `learn` finds."""
    settings = load_for_cluster()
    known = _versions(_shelf(settings), name)
    found = next((one for one in known if one.version == version), None)
    if found is None:
        raise EddyError(f"{name} has no version {version}: it has {', '.join(one.version for one in known)}")
    _pin(settings, name, found)


@app.command("rollback")
def rollback(name: Name) -> None:
    """Put the version before the one that serves into service and keep it there."""
    settings = load_for_cluster()
    shelf = _shelf(settings)
    known = _versions(shelf, name)
    serving = shelf.pinned(name) or shelf.chosen(name)
    at = next((place for place, one in enumerate(known) if one.version == serving.version), -1)
    older = [one for one in known[at + 1 :] if one.version != serving.version]
    if not older:
        raise EddyError(f"{name}: nothing older than {serving.version or 'the blend'} is kept to go back to")
    _pin(settings, name, older[0])


@app.command("release")
def release(name: Name) -> None:
    """Let `learn` decide again which version serves."""
    settings = load_for_cluster()
    shelf = _shelf(settings)
    _versions(shelf, name)
    if shelf.pinned(name) is None:
        raise EddyError(f"{name}: nobody has chosen a version, `learn` decides already")
    _pin(settings, name, None)


def _shelf(settings: Settings) -> Shelf:
    shelf = Shelf()
    with Console(stderr=True).status("reading the versions"):
        for record in scan(settings.kafka.client(), settings.topics.prefix + MODEL_UPDATES.name):
            if (record.key or b"").startswith(PREFIX):
                shelf.take(record.key or b"", record.value)
    return shelf


def _versions(shelf: Shelf, name: str) -> list[Version]:
    versions = shelf.versions(name)
    if not versions:
        known = f"there are {', '.join(shelf.names)}" if shelf.names else "none has been published yet"
        raise EddyError(f"no ranker {name!r} has versions: {known}")
    return versions


def _pin(settings: Settings, name: str, version: Version | None) -> None:
    client = settings.kafka.client() | settings.kafka.producer_options
    writer = KafkaWriter(client, settings.topics.prefix + MODEL_UPDATES.name)
    row = pin_row(name, version)
    writer.write(row.key, row.value)
    writer.flush()
    told = f"{version.version} serves until `eddy models release {name}`" if version else "`learn` decides again"
    typer.echo(f"{name}: {told}")
