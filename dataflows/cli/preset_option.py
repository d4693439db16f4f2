"""The option that names a preset."""

from typing import Annotated, TypeAlias

import typer

from dataflows.run.presets import PRESETS, PresetName


def _read(name: str) -> PresetName:
    if name not in PRESETS:
        raise typer.BadParameter(f"there is no {name!r}: choose one of {', '.join(PRESETS)}")
    return name


PresetOption: TypeAlias = Annotated[
    PresetName | None,
    typer.Option(
        "--preset",
        parser=_read,
        metavar="NAME",
        envvar="EDDY_PRESET",
        help=f"Settings for a field of use, where the environment says nothing else: {', '.join(PRESETS)}.",
    ),
]
