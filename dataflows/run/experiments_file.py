"""Experiments read from a YAML or JSON file or from settings; a mistake is named with line and remedy.

experiments:
  - name: diversity
    coverage: 0.5
    namespace: {name: ranking, start: 0.0, end: 0.5}
    analysis: {goal: conversion, rules: {alpha: 0.05, delta: 0.02}, stop: true}
    variants:
      - {name: control, weight: 1, strategy: {ranker: blend}}
      - {name: treatment, weight: 1, strategy: {ranker: mlp, diversity: 0.3}}
  - name: which-list
    kind: interleaving
    namespace: {name: ranking, start: 0.5, end: 1.0}
    variants:
      - {name: first, weight: 1, strategy: {ranker: blend}}
      - {name: second, weight: 1, strategy: {ranker: mlp}}
"""

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import yaml

from dataflows.errors import EddyError
from models.experiments.assign.assignment import Experiments
from models.experiments.assign.declaration import DeclarationError, Experiment, Step
from models.names import MetricName


class ExperimentError(EddyError):
    """Experiments are declared wrongly; the text says where, what is wrong, and how to fix it."""


@dataclass(frozen=True, slots=True)
class _File:
    experiments: list[Experiment]


def load_experiments(path: Path, goal: MetricName = "ctr") -> Experiments:
    """Read a file of experiments.

    Parameters
    ----------
    goal : of those that name none.

    Raises
    ------
    ExperimentError : the file cannot be read or declares something wrong; the text begins with `file:line`.
    """
    root, data = _parse(path)
    try:
        return _declare(data, goal)
    except DeclarationError as error:
        raise ExperimentError(f"{path}:{_line(root, error.path)}: {_name(error.path)}{error}") from None


def _declare(data: object, goal: MetricName = "ctr") -> Experiments:
    if not isinstance(data, dict):
        raise DeclarationError("no experiments are declared here: begin with the line `experiments:`")
    _check(data, _File, ())
    judged = [{**one, "analysis": {"goal": goal, **one.get("analysis", {})}} for one in data["experiments"]]
    try:
        return Experiments(msgspec.convert({"experiments": judged}, _File).experiments)
    except DeclarationError as error:
        raise DeclarationError(str(error), ("experiments", *error.path)) from None


def _check(data: object, kind: Any, path: tuple[Step, ...]) -> None:
    # The parts come first: what they let pass and still fails is at fault itself, so its path is exact.
    for step, part, part_kind in _parts(data, kind, path):
        _check(part, part_kind, (*path, step))
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        rule = error.__cause__
        if isinstance(rule, ValueError):
            raise DeclarationError(str(rule), (*path, *getattr(rule, "path", ()))) from None
        raise DeclarationError(_mend(str(error), data, kind), path) from None


def _parts(data: object, kind: Any, path: tuple[Step, ...]) -> list[tuple[Step, object, Any]]:
    """List the parts of a value with their declared types, refusing keys that are not declared."""
    kind = _bare(kind)
    if isinstance(data, list) and get_origin(kind) in (list, tuple):
        return [(place, part, get_args(kind)[0]) for place, part in enumerate(data)]
    if not isinstance(data, dict):
        return []
    known: dict[str, Any]
    if is_dataclass(kind):
        known = get_type_hints(kind, include_extras=True)
    elif get_origin(kind) is dict:
        key_kind, value_kind = get_args(kind)
        known = dict.fromkeys(get_args(key_kind) if get_origin(key_kind) is Literal else data, value_kind)
    else:
        return []
    for key in data:
        if key not in known:
            raise DeclarationError(f"unknown key: {_suggest(key, known)}", (*path, key))
    return [(key, part, known[key]) for key, part in data.items()]


def _bare(kind: Any) -> Any:
    """Take away `Annotated` and `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    required = [option for option in get_args(kind) if option is not NoneType]
    return _bare(required[0]) if NoneType in get_args(kind) and len(required) == 1 else kind


def _suggest(word: object, known: Iterable[str]) -> str:
    close = get_close_matches(str(word), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _mend(text: str, data: object, kind: Any) -> str:
    if data is None:
        return f"{text}: give it a value or leave the key out"
    if text.startswith("Object missing"):
        return f"{text}: add it"
    if text.startswith("Expected `str`, got"):
        return f"{text} ({reprlib.repr(data)}): put it in quotes"
    if get_origin(_bare(kind)) is Literal:
        return f"{text}: {_suggest(data, get_args(_bare(kind)))}"
    return f"{text}, not {reprlib.repr(data)}: change the value"


def _name(path: tuple[Step, ...]) -> str:
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return f"{name}: " if name else ""


class _Loader(yaml.SafeLoader):
    """A safe loader to which a repeated key is an error; PyYAML would let the last one win in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                text = f"the key {key.value!r} is repeated: keep one of them"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def _parse(path: Path) -> tuple[yaml.Node | None, object]:
    """Read a file into its node tree, which knows the lines, and its plain values."""
    try:
        content = path.read_bytes()
        loader = _Loader(content.decode())
        root = loader.get_single_node()
        return root, loader.construct_document(root) if root else None
    except OSError as error:
        raise ExperimentError(f"{path}: {error.strerror}: name a file that can be read") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ExperimentError(f"{path}:{line}: not UTF-8: save the file in UTF-8") from None
    except yaml.reader.ReaderError as error:
        line = content.decode().count("\n", 0, error.position) + 1
        raise ExperimentError(f"{path}:{line}: a control character: delete it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ExperimentError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {_explain(error)}") from None


def _explain(error: yaml.MarkedYAMLError) -> str:
    text = ", ".join(part for part in (error.context, error.problem) if part)
    return f"{text}: indent with spaces" if "\\t" in text else text


def _line(node: yaml.Node | None, path: tuple[Step, ...]) -> int:
    """Find the line, from 1, of the part at a path, or of the innermost part of the path that is there."""
    mark = node.start_mark if node else None
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            mark = node.start_mark
        elif isinstance(node, yaml.MappingNode):
            # A merged key (`<<`) comes before the key that overrides it.
            for key, value in reversed(node.value):
                if key.value == str(step):
                    mark, node = key.start_mark, value
                    break
            else:
                break
    return mark.line + 1 if mark else 1
