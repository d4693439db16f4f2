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

from pathlib import Path
from typing import Any

import msgspec

from dataflows.errors import EddyError
from dataflows.run.conversion import check, name_of, suggest
from dataflows.run.yaml_file import YamlError, YamlFile
from models.experiments.assign.assignment import Experiments
from models.experiments.assign.declaration import DeclarationError, Experiment
from models.names import MetricName


class ExperimentError(EddyError):
    """Experiments are declared wrongly; the text says where, what is wrong, and how to fix it."""


def load_experiments(path: Path, goal: MetricName = "ctr") -> Experiments:
    """Read a file of experiments.

    Parameters
    ----------
    goal : of those that name none.

    Raises
    ------
    ExperimentError : the file cannot be read or declares something wrong; the text begins with `file:line`.
    """
    try:
        file = YamlFile.read(path)
    except YamlError as error:
        raise ExperimentError(str(error)) from None
    try:
        return _declare(file.data, goal)
    except DeclarationError as error:
        raise ExperimentError(f"{file.where(error.path)}: {name_of(error.path)}{error}") from None


def _declare(data: object, goal: MetricName) -> Experiments:
    if not isinstance(data, dict):
        raise DeclarationError("no experiments are declared here: begin with the line `experiments:`")
    for key in data:
        if key != "experiments":
            raise DeclarationError(f"unknown key: {suggest(key, ['experiments'])}", (key,))
    try:
        return experiments_of(data.get("experiments"), goal)
    except DeclarationError as error:
        raise DeclarationError(str(error), ("experiments", *error.path)) from None


def experiments_of(entries: object, goal: MetricName) -> Experiments:
    """Make experiments of plain values; of a tuple of experiments, the same.

    Parameters
    ----------
    goal : of those that name none.

    Raises
    ------
    DeclarationError : with the path of the part at fault.
    """
    if isinstance(entries, tuple):
        return Experiments(entries)
    check(entries, list[Experiment])
    plain = msgspec.convert(entries, list[dict[str, Any]])
    judged = [{**entry, "analysis": {"goal": goal, **entry.get("analysis", {})}} for entry in plain]
    return Experiments(msgspec.convert(judged, list[Experiment]))
