"""A measurement in a process of its own, so that nothing of another one is left in its memory."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def alone(measure: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a new interpreter; what it returns has to be picklable."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(measure, *args, **kwargs).result()
