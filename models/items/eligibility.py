"""Who may be shown an item at all: what it requires of a user, and what excludes a user from it.

What a user has, and what an item asks about, are named in one way: an item's id for an item that the user has, and
`name=value` for what the context says. All are 63-bit hashes (`models.numeric.ids.hash64`).
"""

import json
from collections.abc import Collection
from collections.abc import Set as AbstractSet

from models.messages import Context
from models.numeric.ids import hash64


class Eligibility:
    """The items that ask something of their user. All others, usually most, cost nothing.

    Rows are found by what a user has, so that a look-up costs what the user has, and not what the catalog holds.
    """

    def __init__(self) -> None:
        self._required: dict[int, frozenset[int]] = {}
        """By row: all that a user must have."""
        self._excluded: dict[int, frozenset[int]] = {}
        """By row: nothing of which a user may have."""
        self._requiring: dict[int, set[int]] = {}
        """By name: the rows that require it."""
        self._excluding: dict[int, set[int]] = {}
        """By name: the rows that exclude who has it."""

    def __bool__(self) -> bool:
        """Whether any item asks anything."""
        return bool(self._required or self._excluded)

    @property
    def requiring(self) -> AbstractSet[int]:
        """The rows that require something."""
        return self._required.keys()

    def put(self, row: int, requires: Collection[str], excludes: Collection[str]) -> None:
        """Say what an item asks, in place of what it asked before; nothing at all takes it out."""
        if not (requires or excludes or row in self._required or row in self._excluded):
            return
        _put(row, frozenset(map(hash64, requires)), self._required, self._requiring)
        _put(row, frozenset(map(hash64, excludes)), self._excluded, self._excluding)

    def opened_by(self, has: AbstractSet[int]) -> set[int]:
        """Find the rows that require something, and all of whose requirements are among what a user has."""
        known = self._requiring.keys() & has
        asked: set[int] = set().union(*(self._requiring[name] for name in known))
        return {row for row in asked if self._required[row] <= has}

    def closed_by(self, has: AbstractSet[int]) -> set[int]:
        """Find the rows that exclude a user who has one of these."""
        return set().union(*(self._excluding[name] for name in self._excluding.keys() & has))


def stated_by(context: Context | None) -> set[int]:
    """Hash what a context states, each as `name=value`, with numbers and truth values as JSON writes them.

    >>> stated_by({"age": 17, "member": True}) == {hash64("age=17"), hash64("member=true")}
    True
    """
    stated = (context or {}).items()
    return {
        hash64(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
        for name, value in stated
        if value is not None
    }


def _put(row: int, names: frozenset[int], by_row: dict[int, frozenset[int]], by_name: dict[int, set[int]]) -> None:
    for name in by_row.pop(row, ()):
        by_name[name].discard(row)
        if not by_name[name]:
            del by_name[name]
    if names:
        by_row[row] = names
    for name in names:
        by_name.setdefault(name, set()).add(row)
