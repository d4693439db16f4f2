"""Settings on the command line: the option that names a preset, and all of them with default and meaning."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Annotated, Any, TypeAlias

import orjson
import typer
from pydantic import BaseModel

from dataflows.docstrings import attribute_docstrings
from dataflows.run.presets import PRESETS, PresetName
from dataflows.run.setting_errors import variable_of
from dataflows.run.settings import Settings

PresetOption: TypeAlias = Annotated[
    PresetName | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        envvar="EDDY_PRESET",
        help=f"Settings for a field of use, where nothing else is set: {', '.join(PRESETS)}.",
    ),
]


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable of the environment."""

    variable: str
    default: str
    """As it is written in the environment; empty where there is none."""
    text: str
    """What it means; empty where the name says it all."""


def all_settings(preset: PresetName | None = None) -> Iterator[Setting]:
    """List every setting, section by section, in the order of `dataflows.run.settings`.

    Parameters
    ----------
    preset : whose defaults are listed; none: the general ones.
    """
    defaults, texts = Settings.model_construct(preset=preset), attribute_docstrings(Settings)
    filled = PRESETS[preset].settings if preset else {}
    for name in Settings.model_fields:
        default = _filled(getattr(defaults, name), filled.get(name, {}))
        if isinstance(default, BaseModel) or is_dataclass(default):
            yield from _section(name, default)
        else:
            yield Setting(variable_of(name), _write(default), texts.get(name, ""))


def _filled(section: Any, values: Mapping[str, Any]) -> Any:
    """Put a preset's values into a section's defaults."""
    if isinstance(section, BaseModel):
        return section.model_copy(update=values)
    return replace(section, **values) if values else section


def _section(name: str, defaults: Any) -> Iterator[Setting]:
    texts = attribute_docstrings(type(defaults))
    for field in type(defaults).model_fields if isinstance(defaults, BaseModel) else defaults.__dataclass_fields__:
        yield Setting(variable_of(name, field), _write(getattr(defaults, field)), texts.get(field, ""))


def _write(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(sorted(value) if isinstance(value, frozenset) else value).decode()
