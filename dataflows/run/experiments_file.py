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

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from dataflows.errors import EddyError
from dataflows.run.conversion import check, name_of
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
        raise ExperimentError(f"{path}:{_line(root, error.path)}: {name_of(error.path)}{error}") from None


def _declare(data: object, goal: MetricName = "ctr") -> Experiments:
    if not isinstance(data, dict):
        raise DeclarationError("no experiments are declared here: begin with the line `experiments:`")
    check(data, _File)
    judged = [{**one, "analysis": {"goal": goal, **one.get("analysis", {})}} for one in data["experiments"]]
    try:
        return Experiments(msgspec.convert({"experiments": judged}, _File).experiments)
    except DeclarationError as error:
        raise DeclarationError(str(error), ("experiments", *error.path)) from None


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
