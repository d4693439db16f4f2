"""The one door to numba: typed, cached, and released from the GIL."""

import inspect
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import types
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over arrays to machine code, cached on disk.

    A kernel reads and writes arrays only, so it runs without the GIL; a caller warms it up at start, since its
    first call compiles (seconds) or loads the cache (a tenth).
    """
    return _compiled(function)


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a small helper that kernels call."""
    return _compiled(function, inline="never")


def _compiled(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    dispatcher = numba.njit(nogil=True, error_model="numpy", **options)(function)
    # What `cache=True` does with numba's own cache.
    dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return cast("Callable[P, R]", dispatcher)


class _Cache(FunctionCache):
    """Numba's cache on disk, of which a kernel is part together with all that is compiled into it.

    By itself numba takes a kernel from the cache as long as the kernel's own file is the same, although helpers,
    constants and the order of named tuples' fields, which other files may say, have become part of its machine code.
    """

    def _index_key(self, signature: Any, *args: Any) -> tuple[Any, ...]:
        key = super()._index_key(signature, *args)  # type: ignore[no-untyped-call]
        return (*key, _ingredients(self._py_func), _field_names(signature))

    def _load_overload(self, *args: Any) -> Any:
        try:
            return super()._load_overload(*args)  # type: ignore[no-untyped-call]
        except (AttributeError, ImportError):
            # An older release compiled the kernel for a named tuple that is gone, and the whole index names it.
            self.flush()  # type: ignore[no-untyped-call]
            return None


def _ingredients(function: FunctionType) -> tuple[tuple[str, str], ...]:
    """Name what a function takes, and its helpers take: helpers by their source, constants, named tuples' fields."""
    found: dict[str, str] = {}
    waiting = [function]
    while waiting:
        taker = waiting.pop()
        for name in taker.__code__.co_names:
            value = taker.__globals__.get(name)
            known = f"{taker.__module__}.{name}"
            if known in found:
                continue
            if isinstance(value, Dispatcher):
                found[known] = inspect.getsource(value.py_func)
                waiting.append(value.py_func)
            elif isinstance(value, int | float | str | tuple | np.generic):
                found[known] = repr(value)
            elif isinstance(value, type) and issubclass(value, tuple):
                found[known] = repr(getattr(value, "_fields", ()))
    return tuple(sorted(found.items()))


def _field_names(argument_types: Iterable[Any]) -> tuple[Any, ...]:
    """Name the fields of the named tuples among a kernel's arguments, and of those inside them."""
    named: Iterable[Any] = (kind for kind in argument_types if isinstance(kind, types.BaseNamedTuple))
    return tuple((kind.fields, _field_names(kind.types)) for kind in named)
