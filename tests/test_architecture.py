import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOWS = {"dataflows/recommend.py", "dataflows/learn.py", "dataflows/evaluate.py"}
RUNTIME = {"dataflows/runtime.py", "dataflows/wiring.py", "dataflows/worker.py"}  # they give a flow to the engine


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


def test_only_the_connectors_know_kafka() -> None:
    found = importers("dataflows", "confluent_kafka")
    assert {path for path in found if not path.startswith("dataflows/connectors/")} == set()


def test_only_flows_steps_connectors_and_the_runtime_know_the_engine() -> None:
    allowed = ("dataflows/steps/", "dataflows/connectors/", "dataflows/runtime/")
    found = importers("dataflows", "bytewax")
    assert {path for path in found if not path.startswith(allowed)} <= FLOWS | RUNTIME


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
    assert {"dataflows/learn.py", "dataflows/connectors/kafka_sink.py"} <= set(modules("dataflows"))
