import subprocess
import sys
from pathlib import Path

HELPERS = """
from models.numeric.kernels import inline

@inline
def deeper(x: float) -> float:
    return x + {added}

@inline
def helped(x: float) -> float:
    return deeper(x)

FACTOR = {factor}
"""
KERNELS = """
from helpers import FACTOR, helped
from models.numeric.kernels import kernel

@kernel
def answer(x: float) -> float:
    return FACTOR * helped(x)
"""
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from kernels import answer
print(answer(1.0), sum(answer.stats.cache_hits.values()))
"""


def answer(folder: Path, **changes: float) -> tuple[float, int]:
    """Run the kernel in a process of its own: its answer, and how often it came from the cache."""
    (folder / "kernels.py").write_text(KERNELS)
    (folder / "helpers.py").write_text(HELPERS.format(**({"added": 1.0, "factor": 1.0} | changes)))
    command = [sys.executable, "-B", "-c", RUN, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    value, hits = result.stdout.split()
    return float(value), int(hits)


def test_a_kernel_is_compiled_once_for_all_processes(tmp_path: Path):
    assert answer(tmp_path) == (2.0, 0)
    assert answer(tmp_path) == (2.0, 1)


def test_a_kernel_is_compiled_anew_when_a_helper_or_a_constant_of_another_file_changes(tmp_path: Path):
    assert answer(tmp_path) == (2.0, 0)
    assert answer(tmp_path, added=5.0) == (6.0, 0)
    assert answer(tmp_path, added=5.0, factor=10.0) == (60.0, 0)
