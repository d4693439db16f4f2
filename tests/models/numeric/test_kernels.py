import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = """
from typing import NamedTuple

from models.numeric.kernels import inline

class {name}(NamedTuple):
    {first}: float
    {second}: float

class Made(NamedTuple):
    {made_first}: float
    {made_second}: float

@inline
def deeper(x: float) -> float:
    return x + {added}

@inline
def helped(x: float) -> float:
    return deeper(x)

FACTOR = {factor}
"""
KERNELS = """
from helpers import FACTOR, Made, helped
from models.numeric.kernels import kernel

@kernel
def answer(given) -> float:
    return FACTOR * helped(Made(given.x, 9.0).x)
"""
UNPACKING_KERNELS = """
from typing import NamedTuple

from helpers import FACTOR, Given, Made, helped
from models.numeric.kernels import kernel

class Nested(NamedTuple):
    given: Given
    more: float

@kernel
def unpacking(first: float, nested: Nested, last: float) -> float:
    return FACTOR * helped(Made(nested.given.x, 9.0).x) + 0.0 * (first + nested.more + last)

def answer(given):
    return unpacking(0.0, Nested(given, 0.0), 0.0)

answer.stats = unpacking.__globals__["kernel"].stats
"""
BOTH = pytest.mark.parametrize("kernels", [KERNELS, UNPACKING_KERNELS], ids=["as written", "unpacking"])
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import helpers
from kernels import answer
given = getattr(helpers, sys.argv[2])(x=1.0, unused=100.0)
print(answer(given), sum(answer.stats.cache_hits.values()))
"""
DEFAULTS = {"added": 1.0, "factor": 1.0, "name": "Given", "first": "x", "second": "unused"}
DEFAULTS |= {"made_first": "x", "made_second": "unused"}


def answer(folder: Path, kernels: str = KERNELS, **changes: float | str) -> tuple[float, int]:
    """Run the kernel in a process of its own: its answer, and how often it came from the cache."""
    (folder / "kernels.py").write_text(kernels)
    (folder / "helpers.py").write_text(HELPERS.format(**(DEFAULTS | changes)))
    command = [sys.executable, "-B", "-c", RUN, str(folder), str(changes.get("name", "Given"))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    value, hits = result.stdout.split()
    return float(value), int(hits)


@BOTH
def test_a_kernel_is_compiled_once_for_all_processes(tmp_path: Path, kernels: str):
    assert answer(tmp_path, kernels) == (2.0, 0)
    assert answer(tmp_path, kernels) == (2.0, 1)


@BOTH
def test_a_kernel_is_compiled_again_when_a_helper_or_a_constant_of_another_file_changes(tmp_path: Path, kernels: str):
    assert answer(tmp_path, kernels) == (2.0, 0)
    assert answer(tmp_path, kernels, added=5.0) == (6.0, 0)
    assert answer(tmp_path, kernels, added=5.0, factor=10.0) == (60.0, 0)


@BOTH
def test_a_kernel_is_compiled_again_when_the_fields_of_a_named_tuple_change_places(tmp_path: Path, kernels: str):
    assert answer(tmp_path, kernels) == (2.0, 0)
    assert answer(tmp_path, kernels, first="unused", second="x") == (2.0, 0)
    assert answer(tmp_path, kernels, made_first="unused", made_second="x") == (10.0, 0)


def test_a_cache_that_knows_a_named_tuple_by_another_name_is_given_up(tmp_path: Path):
    assert answer(tmp_path) == (2.0, 0)
    assert answer(tmp_path, name="Renamed") == (2.0, 0)
    assert answer(tmp_path, name="Renamed") == (2.0, 1)
