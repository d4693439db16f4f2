"""The one door to numba: typed, cached, and released from the GIL."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over arrays to machine code, cached on disk.

    A kernel reads and writes arrays only, so it runs without the GIL; a caller warms it up at start, since its
    first call compiles (seconds) or loads the cache (a tenth).
    """
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a small helper that kernels call."""
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")(function))
