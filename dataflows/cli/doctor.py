"""`eddy doctor`: what is wrong with this installation, and how to fix it."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataflows.cli.examinations import Finding, examine_all
from dataflows.cli.preset_option import PresetOption
from dataflows.cli.setting_list import all_settings
from dataflows.run.presets import PRESETS, PresetName
from dataflows.run.settings import SettingsError, load

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}

List = Annotated[bool, typer.Option("--settings", help="List every setting with its default instead.")]


def examine(settings: List = False, preset: PresetOption = None) -> None:
    """Look at settings, broker, topics, recovery folder, experiments and checkpoint.

    Every problem comes with its remedy, and nothing is changed. The exit code is 1 where there is an error;
    a warning can wait.

    `--settings` lists every setting with its default instead; with `--preset NAME`, as EDDY_PRESET=NAME would have it
    wherever the environment says nothing else.
    """
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


def _findings(preset: PresetName | None) -> Iterator[Finding]:
    try:
        settings = load(preset=preset)
    except SettingsError as error:
        yield Finding("settings", "error", str(error))
        return
    chosen = f", filled in by the preset {preset}: {PRESETS[preset].what}" if preset else ""
    yield Finding("settings", "ok", f"all are known and in range{chosen}")
    yield from examine_all(settings)


def _list_settings(preset: PresetName | None) -> None:
    for setting in all_settings(preset):
        typer.secho(f"{setting.variable}={setting.default}", bold=True)
        if setting.text:
            typer.echo(f"    {setting.text}")
