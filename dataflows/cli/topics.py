"""`eddy topics`: make the topics of Eddy's contract, list them, and check them."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dataflows.errors import EddyError
from dataflows.kafka.admin import create_topics, list_topics
from dataflows.kafka.check import check_topics
from dataflows.run.settings import Settings, load
from dataflows.topics import declare

app = typer.Typer(
    name="topics", help="Make, list and check the topics that the flows read and write.", no_args_is_help=True
)

Partitions = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Of each topic; no more processes can share a flow.",
        show_default="EDDY_TOPICS__PARTITIONS",
    ),
]
Replication = Annotated[
    int | None,
    typer.Option(min=1, max=16, help="Copies of each partition.", show_default="EDDY_TOPICS__REPLICATION"),
]
Everything = Annotated[bool, typer.Option("--all", help="List the cluster's other topics as well.")]


class FileTopicsError(EddyError):
    """The settings name file topics, which are not made or checked on a cluster."""


@app.command()
def create(partitions: Partitions = None, replication: Replication = None) -> None:
    """Make the topics that are missing.

    A topic that exists is left as it is; `eddy topics check` says whether it fits. Think of the number of
    partitions now: partitions that are added later move users away from their history.
    """
    settings = load_for_cluster()
    made = create_topics(
        settings.kafka.client(),
        declare(settings.topics.prefix),
        partitions or settings.topics.partitions,
        replication or settings.topics.replication,
    )
    for topic in made:
        typer.echo(f"{topic.outcome:<8} {topic.topic} ({topic.partitions} partitions)")


@app.command("list")
def show(everything: Everything = False) -> None:
    """List the topics: what they carry, who writes them, and whether the cluster has them."""
    settings = load_for_cluster()
    found = list_topics(settings.kafka.client())
    declared = declare(settings.topics.prefix)
    table = Table(box=None, pad_edge=False)
    for heading in ("topic", "partitions", "message", "written by", "cleanup"):
        table.add_column(heading, overflow="fold")
    for topic in declared:
        partitions = str(found.get(topic.name, "missing"))
        table.add_row(topic.name, partitions, topic.value, topic.written_by, topic.cleanup)
    if everything:
        for name in sorted(found.keys() - {topic.name for topic in declared}):
            table.add_row(name, str(found[name]), "", "others", "")
    Console().print(table)


@app.command()
def check(partitions: Partitions = None) -> None:
    """Say what is wrong with the topics and how to fix it.

    The exit code is 1 where a flow would stop or lose data.
    """
    settings = load_for_cluster()
    problems = check_topics(
        settings.kafka.client(), declare(settings.topics.prefix), partitions or settings.topics.partitions
    )
    for problem in problems:
        typer.echo(f"{problem.severity}: {problem.text}")
    if not problems:
        typer.echo(f"all {len(declare())} topics are as they should be")
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(1)


def load_for_cluster() -> Settings:
    """Read the settings of an installation whose topics are on a cluster.

    Raises
    ------
    SettingsError : a setting is wrong.
    FileTopicsError : the topics are files, of which none has to be made.
    """
    settings = load()
    if settings.topics.folder:
        raise FileTopicsError(
            f"the topics are files in {settings.topics.folder}, which the flows make as they write: "
            "unset EDDY_TOPICS__FOLDER to work on the topics of a cluster"
        )
    return settings
