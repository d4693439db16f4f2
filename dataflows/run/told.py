"""Keeps what goes wrong in a flow's own code where several processes share it.

There the engine ends with a panic of its own over the lost connections, in all processes and without a word of the
error that came first: each log would send its reader to the others.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeAlias

from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution

Tell: TypeAlias = Callable[[Exception], None]

CALLED = (
    "build", "build_part", "next_batch", "write_batch", "on_batch", "on_notify", "on_eof", "notify_at", "snapshot"
)  # fmt: skip
"""What the engine calls of sources, sinks, their partitions and the logic of a key."""
_HELD = "source", "sink"
_FUNCTIONS = "mapper", "builder"


def tell_failures(dataflow: Dataflow, tell: Tell) -> None:
    """Let each step of a flow tell what it raises, before it does.

    Parameters
    ----------
    dataflow : changed in place, before it is run.
    tell : called with the error, on the engine's thread; what means that a source has ended is none.
    """
    listener = _Listener(tell)
    for step in _steps(dataflow):
        for name in _HELD:
            if (held := getattr(step, name, None)) is not None:
                listener.listen(held)
        for name in _FUNCTIONS:
            if (function := getattr(step, name, None)) is not None:
                object.__setattr__(step, name, listener.told(function))


def _steps(within: Any) -> Iterator[Any]:
    for step in within.substeps:
        yield step
        yield from _steps(step)


class _Listener:
    """Puts itself between the engine and what it calls."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._telling: dict[type, type] = {}
        """By an object's own class, the one that it gets."""

    def told(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def telling(*given: Any) -> Any:
            try:
                made = call(*given)
            except (StopIteration, AbortExecution):
                raise
            except Exception as error:
                self._tell(error)
                raise
            if any(hasattr(type(made), name) for name in CALLED):
                self.listen(made)
            return made

        return telling

    def listen(self, held: Any) -> None:
        """Give an object another class in the place of its own: an object a key has no room for more."""
        kind = type(held)
        if kind in self._telling.values():
            return
        if kind not in self._telling:
            called = {name: self.told(getattr(kind, name)) for name in CALLED if hasattr(kind, name)}
            self._telling[kind] = type(kind.__name__, (kind,), called | {"__module__": kind.__module__})
        object.__setattr__(held, "__class__", self._telling[kind])
