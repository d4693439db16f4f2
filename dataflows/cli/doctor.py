"""`eddy doctor`: what is wrong with this installation, and how to fix it."""

from collections.abc import Iterator
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataflows.cli.examinations import Finding, examine_all
from dataflows.cli.setting_list import PresetOption, all_settings
from dataflows.cli.topics import load_for_cluster
from dataflows.kafka import rights
from dataflows.run.presets import PRESETS, PresetName
from dataflows.run.setting_errors import SettingsError
from dataflows.run.settings import load

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}

List = Annotated[bool, typer.Option("--settings", help="List every setting with its default instead.")]


Acls = Annotated[
    bool, typer.Option("--acls", help="Print the kafka-acls commands that give each flow what it needs instead.")
]
OfFlow = Annotated[
    Literal["recommend", "learn", "evaluate", "serve"] | None,
    typer.Option("--flow", help="With --acls: of it alone; and check that these settings' user has them."),
]
Principal = Annotated[str, typer.Option(help="With --acls: who is given them; {flow} stands for the flow's name.")]


def examine(
    settings: List = False,
    preset: PresetOption = None,
    acls: Acls = False,
    flow: OfFlow = None,
    principal: Principal = "User:eddy-{flow}",
) -> None:
    """Look at settings, broker, topics, recovery folder, experiments and checkpoint.

    Every problem comes with its remedy, and nothing is changed. The exit code is 1 where there is an error;
    a warning can wait.

    `--settings` lists every setting with its default instead; with `--preset NAME`, as EDDY_PRESET=NAME would have it
    wherever the environment says nothing else.

    `--acls` prints the commands that give each flow's own user what it needs on a cluster with access control, and no
    more; with `--flow NAME` of one flow, and it then tries whether the user of these settings has it.
    """
    if acls:
        _show_rights(flow, principal)
        return
    if settings:
        _list_settings(preset)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "finding"):
        table.add_column(heading, overflow="fold")
    worst = "ok"
    for finding in _findings(preset):
        table.add_row(Text(finding.state, STYLES[finding.state]), finding.subject, Text(finding.text))
        worst = finding.state if finding.state == "error" else worst
    Console().print(table)
    if worst == "error":
        raise typer.Exit(1)


def _show_rights(flow: str | None, principal: str) -> None:
    settings = load_for_cluster()
    client, prefix = settings.kafka.client(), settings.topics.prefix
    for line in rights.commands(prefix, principal, settings.kafka.bootstrap_servers, flow):
        typer.echo(line)
    if flow is None:
        return
    lacking = rights.missing(client, flow, prefix)
    for right in lacking:
        typer.echo(f"error: the user of these settings lacks {right}", err=True)
    if lacking:
        raise typer.Exit(1)
    typer.echo(f"ok: the user of these settings may do all that {flow} does", err=True)


def _findings(preset: PresetName | None) -> Iterator[Finding]:
    try:
        settings = load(preset=preset)
    except SettingsError as error:
        yield Finding("settings", "error", str(error))
        return
    read = f", read from the environment and {settings.config}" if settings.config else ""
    chosen = f", filled in by the preset {settings.preset}: {PRESETS[settings.preset].what}" if settings.preset else ""
    yield Finding("settings", "ok", f"all are known and in range{read}{chosen}")
    yield from examine_all(settings)


def _list_settings(preset: PresetName | None) -> None:
    for setting in all_settings(preset):
        typer.secho(f"{setting.variable}={setting.default}", bold=True)
        if setting.text:
            typer.echo(f"    {setting.text}")
