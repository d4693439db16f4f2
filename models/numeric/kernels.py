"""The one door to numba: typed, cached, and released from the GIL."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import update_wrapper
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast, get_type_hints

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
    first call compiles (seconds) or loads the cache (a tenth). NamedTuples among its arguments are handed over field
    by field: numba takes 50 ns to recognise an array, and 200 ns for one in a tuple.
    """
    if any(map(_is_named_tuple, _kinds(function).values())):
        return _unpacking(function)
    return _compiled(function)


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a small helper that kernels call."""
    return _compiled(function, inline="never")


def _unpacking(function: Callable[P, R]) -> Callable[P, R]:
    """Write a function that unpacks the NamedTuples, and a kernel that packs them again for the one as written."""
    fields = (f"field_{n}" for n in range(1_000))
    names: dict[str, Any] = {"written": inline(function)}
    unpacked, packed = zip(*[_layout(kind, fields, names) for kind in _kinds(function).values()], strict=True)
    arguments = ", ".join(unpacked).replace("(", "").replace(",)", "")
    name, parameters = function.__name__, ", ".join(_kinds(function))
    source = (
        f"def {name}({arguments}): return written({', '.join(packed)})\n"
        f"def entry({parameters}):\n    {', '.join(unpacked)}, = {parameters},\n    return kernel({arguments})\n"
    )
    written = cast("FunctionType", function)
    exec(compile(source, written.__code__.co_filename, "exec"), names)  # noqa: S102 - written from names of this code
    flat = names[name]
    flat.__code__ = flat.__code__.replace(co_firstlineno=written.__code__.co_firstlineno)
    flat.__module__, flat.__qualname__ = written.__module__, f"{written.__qualname__}.unpacked"
    names["kernel"] = _compiled(flat)
    return cast("Callable[P, R]", update_wrapper(names["entry"], function))


def _layout(kind: Any, fields: Iterator[str], names: dict[str, Any]) -> tuple[str, str]:
    """Write how an argument is unpacked, and how it is packed again; add the NamedTuples to the names."""
    if not _is_named_tuple(kind):
        field = next(fields)
        return field, field
    names[kind.__name__] = kind
    unpacked, packed = zip(*[_layout(part, fields, names) for part in get_type_hints(kind).values()], strict=True)
    return f"({', '.join(unpacked)},)", f"{kind.__name__}({', '.join(packed)})"


def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Name the parameters and their types."""
    parameters = inspect.signature(function, eval_str=True).parameters
    return {name: parameter.annotation for name, parameter in parameters.items()}


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


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
