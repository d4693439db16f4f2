import ast
from collections.abc import Iterator

import pytest

from tests import places

ROOT = places.ROOT
ENGINE = (
    "dataflows/recommend.py",
    "dataflows/learn.py",
    "dataflows/evaluate.py",
    "dataflows/steps/",
    "dataflows/run/",
    "dataflows/kafka/",
    "dataflows/files/",
)
"""Who gives a flow to the engine, or is called by it."""
FLOORS = (
    {"numeric"},
    {"items", "user"},
    {"query"},
    {"candidates"},
    {"features"},
    {"serving"},
    {"offline"},
)
"""Rooms of the core, the ground floor first: none imports from a floor above its own."""


def modules(package: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    """Name what a module imports, wherever in it, by the first part of the name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def importers(package: str, library: str) -> set[str]:
    return {path for path in modules(package) if library in imports((ROOT / path).read_text())}


@pytest.mark.parametrize("library", ["dataflows", "bytewax", "confluent_kafka"])
def test_the_core_imports_nothing_of_the_shell(library: str) -> None:
    assert importers("models", library) == set()


def test_only_the_kafka_room_knows_kafka() -> None:
    found = importers("dataflows", "confluent_kafka")
    assert {path for path in found if not path.startswith(("dataflows/kafka/", "dataflows/following/"))} == set()


def test_only_flows_steps_edges_and_what_runs_them_know_the_engine() -> None:
    assert {path for path in importers("dataflows", "bytewax") if not path.startswith(ENGINE)} == set()


@pytest.mark.parametrize(
    "source",
    [
        "import bytewax",
        "import numpy, bytewax.operators as op",
        "from bytewax.inputs import Source",
        "def late():\n    from bytewax import operators",
    ],
)
def test_every_form_of_import_is_seen(source: str) -> None:
    assert "bytewax" in imports(source)


def test_the_files_that_are_looked_at_are_the_project() -> None:
    assert {"models/strategy.py", "models/candidates/blend.py"} <= set(modules("models"))
    assert {"dataflows/learn.py", "dataflows/kafka/sink.py"} <= set(modules("dataflows"))
