"""What is wrong with settings, each fault told by its variable, or by the line of the file where it stands."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeAlias, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dataflows.errors import EddyError
from dataflows.run.conversion import SectionError, SettingFault, name_of, suggest
from dataflows.run.yaml_file import YamlFile
from models.experiments.assign.declaration import Step

Names: TypeAlias = Mapping[str, Sequence[str]]
"""The names in each section, by its own; none in a setting that stands alone."""


class SettingsError(EddyError):
    """A setting is wrong; the text says which, why, and how to fix it."""


def variable_of(*names: str) -> str:
    """Name the variable of a setting: of its section, where it is in one, and its own name."""
    return f"EDDY_{'__'.join(names)}".upper()


def variables_of(names: Names) -> Iterator[str]:
    """Name every variable of the environment that is a setting."""
    for section, parts in names.items():
        yield from (variable_of(section, part) for part in parts) if parts else (variable_of(section),)


def faults_of(error: ValidationError) -> Iterator[SettingFault]:
    """List what pydantic found."""
    for found in error.errors():
        cause = found.get("ctx", {}).get("error")
        if isinstance(cause, SectionError):
            yield from cause.faults
        else:
            yield found["loc"], None if found["type"] == "extra_forbidden" else found["msg"]


def tell(fault: SettingFault, names: Names, file: YamlFile | None) -> str:
    """Say what is wrong, where, and how to fix it.

    Parameters
    ----------
    names : all settings.
    file : what they were read from beside the environment, which wins.
    """
    path, text = fault
    variable = variable_of(*map(str, path[:2] if names.get(str(path[0])) else path[:1]))
    if file is not None and _is_in(file.data, path) and not _is_set(variable):
        known = names.get(str(path[0]), ()) if len(path) > 1 else names
        return f"{file.where(path)}: {name_of(path)}{text or f'unknown key: {suggest(path[-1], known)}'}"
    if text is None:
        return unknown_variable(variable_of(*map(str, path)), names)
    return f"{variable}: {name_of(path[variable.count('__') + 1 :])}{text}"


def unknown_variable(variable: str, names: Names) -> str:
    """Say that no setting has this variable, and which may be meant."""
    close = get_close_matches(variable, variables_of(names), n=1, cutoff=0.8)
    remedy = f"did you mean {close[0]}?" if close else "see `eddy doctor --settings` for all names"
    return f"unknown setting {variable}: {remedy}"


def tell_no_json(error: str, fields: Mapping[str, FieldInfo]) -> str:
    """Name the variables of a section that are no JSON where it takes nothing else; a value may be a secret.

    Parameters
    ----------
    error : what pydantic says, which names the section.
    fields : all sections.
    """
    name = error.partition('field "')[2].partition('"')[0]
    section, kind = variable_of(name), fields[name].annotation
    if section in os.environ and get_origin(kind) is None:
        return (
            f"{section} is a section: set what is in it one by one, as {section}__NAME, or all of it as a JSON object"
        )
    wrong = [
        variable_of(name, part)
        for part, field in getattr(kind, "model_fields", {}).items()
        if get_origin(field.annotation) in (dict, list) and not _is_json(os.environ.get(variable_of(name, part), "0"))
    ]
    example = """'{"client.rack": "a"}' or '["a", "b"]'"""
    return f"{', '.join(wrong) or section}: this is no JSON; give it as in {example}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_in(data: object, path: tuple[Step, ...]) -> bool:
    """Say whether plain values have a setting, which stands at the first two steps of a path at most."""
    for step in path[:2]:
        if not isinstance(data, dict):
            return True
        if step not in data:
            return False
        data = data[step]
    return True


def _is_set(variable: str) -> bool:
    """Say whether the environment names a setting, or a part of it."""
    return any(name == variable or name.startswith(f"{variable}__") for name in os.environ)
