"""What the flows keep of each key, as far as it can be told from the bytes alone: its format, and whose it is."""

import pickle
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import msgspec

OPTIONAL_STEPS = frozenset(
    {"learn.recommendations", "learn.attribute", "learn.learn_ranker", "learn.learn_funnel", "learn.graduate"}
)
"""Steps that `learn` has only where a ranker learns, or items graduate; their state waits while none does."""
_ITEMS_HEADER = 16
"""Bytes before the packed counts of a shard."""


class StateKind(NamedTuple):
    """What a step keeps."""

    packed: Callable[[Any], bytes]
    """Finds the packed part of a state; its first byte is the format."""
    by_user: bool = False
    """Whether keys are state keys."""


def _whole(state: Any) -> bytes:
    return bytes(state)


KINDS = {
    "recommend.profile": StateKind(lambda state: bytes(state[0]), by_user=True),
    "learn.transitions": StateKind(_whole, by_user=True),
    "learn.learn_sessions": StateKind(_whole),
    "learn.learn_items": StateKind(lambda state: bytes(state[_ITEMS_HEADER:])),
    "learn.learn_content": StateKind(_whole),
    "learn.attribute": StateKind(_whole, by_user=True),
    "learn.learn_ranker": StateKind(_whole),
    "learn.graduate": StateKind(_whole),
    "evaluate.outcomes": StateKind(_whole, by_user=True),
    "evaluate.tally": StateKind(lambda state: bytes(msgspec.msgpack.decode(state)[-1])),
}
"""By step; the others keep where they are in a topic."""
USER_STEPS = tuple(step for step, kind in KINDS.items() if kind.by_user)


class _Plain(pickle.Unpickler):
    """Restores numbers, text, bytes and tuples of these, which is all that the flows keep, and runs nothing."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and state holds plain values alone")


def unpickle(change: bytes) -> Any:
    """Restore what the engine has pickled.

    Raises
    ------
    ValueError : it is damaged, or would run code.
    """
    try:
        return _Plain(BytesIO(change)).load()
    except Exception as error:
        raise ValueError(f"damaged: {error}") from error


def format_of(step_id: str, state: Any) -> str:
    """Name the format of a state: its version byte, or its type where it is a place in a topic."""
    kind = KINDS.get(step_id)
    if kind is None:
        return "place"
    try:
        return str(kind.packed(state)[0])
    except (IndexError, KeyError, TypeError, ValueError):
        return "unreadable"
