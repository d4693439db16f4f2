import subprocess
import sys
from pathlib import Path

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


def answer(folder: Path, **changes: float | str) -> tuple[float, int]:
    """Run the kernel in a process of its own: its answer, and how often it came from the cache."""
    (folder / "kernels.py").write_text(KERNELS)
    (folder / "helpers.py").write_text(HELPERS.format(**(DEFAULTS | changes)))
    command = [sys.executable, "-B", "-c", RUN, str(folder), str(changes.get("name", "Given"))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    value, hits = result.stdout.split()
    return float(value), int(hits)


def test_a_kernel_is_compiled_once_for_all_processes(tmp_path: Path):
    assert answer(tmp_path) == (2.0, 0)
    assert answer(tmp_path) == (2.0, 1)


def test_a_kernel_is_compiled_again_when_a_helper_or_a_constant_of_another_file_changes(tmp_path: Path):
    assert answer(tmp_path) == (2.0, 0)
    assert answer(tmp_path, added=5.0) == (6.0, 0)
    assert answer(tmp_path, added=5.0, factor=10.0) == (60.0, 0)


def test_a_kernel_is_compiled_again_when_the_fields_of_a_named_tuple_change_places(tmp_path: Path):
    assert answer(tmp_path) == (2.0, 0)
    assert answer(tmp_path, first="unused", second="x") == (2.0, 0)
    assert answer(tmp_path, made_first="unused", made_second="x") == (10.0, 0)


def test_a_cache_that_knows_a_named_tuple_by_another_name_is_given_up(tmp_path: Path):
    assert answer(tmp_path) == (2.0, 0)
    assert answer(tmp_path, name="Renamed") == (2.0, 0)
    assert answer(tmp_path, name="Renamed") == (2.0, 1)
