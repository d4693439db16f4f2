"""The registry of versions: rankers and the sequence model, joined again from their parts, and which of them serves.

Rows (`models.online.versions`) may arrive in any order: a choice takes effect once all parts of its version are there;
until then the version before it serves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote

import msgspec

from models.names import FUNNEL, SEQUENCE
from models.online.versions import MAX_PARTS, N_SLOTS, Chances, Choice, Version, VersionPart, read_version
from models.rankers.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from models.sequence.checkpoint import SequenceCheckpoint, read_sequence_checkpoint

MAX_BYTES = 2**29
"""Of the parts of all rankers: those of the newest eight versions of a few."""
MAX_RANKERS = 256
"""Names: with `per_arm`, one for each variant."""

Served: TypeAlias = Checkpoint | SequenceCheckpoint
"""A ranker, or, under the name `sequence`, the sequence model."""


@dataclass(slots=True)
class _Ranker:
    """What is known of one ranker."""

    versions: dict[int, Version] = field(default_factory=dict)
    """By slot."""
    parts: dict[tuple[int, int], VersionPart] = field(default_factory=dict)
    """By slot and number."""
    choice: Choice | None = None
    pin: Choice | None = None
    chances: Chances | None = None
    serving: str | None = None

    @property
    def in_force(self) -> Choice:
        """The choice that counts: a person's, else that of `learn`."""
        return self.pin or self.choice or Choice(None)

    def joined(self) -> bytes | None:
        """Join the parts of the version that is to serve; None while one is missing."""
        choice = self.in_force
        version = self.versions.get(choice.slot)
        if version is None or version.version != choice.version:
            return None
        parts = [self.parts.get((version.slot, number)) for number in range(version.n_parts)]
        whole = [part.data for part in parts if part is not None and part.version == version.version]
        return b"".join(whole) if len(whole) == version.n_parts else None


class VersionRegistry:
    """All rankers' versions, from the rows of `model-updates`."""

    def __init__(self) -> None:
        self._rankers: dict[str, _Ranker] = {}
        self._n_bytes = 0

    @property
    def names(self) -> list[str]:
        """Rankers that have versions."""
        return sorted(self._rankers)

    def versions(self, name: str) -> list[Version]:
        """Return a ranker's versions, the newest decision first."""
        known = self._of(name).versions.values()
        return sorted(known, key=lambda version: -version.number)

    def chosen(self, name: str) -> Choice:
        """Return which of a ranker's versions `learn` has put into service."""
        return self._of(name).choice or Choice(None)

    def pinned(self, name: str) -> Choice | None:
        """Return which of a ranker's versions a person has put into service, None where `learn` decides."""
        return self._of(name).pin

    def in_use(self, name: str) -> set[str]:
        """Return which of a ranker's versions `learn` or a person has put into service."""
        choices = self.chosen(name), self.pinned(name)
        return {choice.version for choice in choices if choice is not None and choice.version is not None}

    def chances(self, name: str) -> Chances | None:
        """Return whether what slates said by a ranker came true; None where nothing is known."""
        return self._of(name).chances

    def serving(self, name: str) -> Choice:
        """Return which of a ranker's versions is in force: a person's choice, else that of `learn`."""
        return self._of(name).in_force

    def _of(self, name: str) -> _Ranker:
        return self._rankers.get(name, _Ranker())

    def before(self, name: str) -> Version | None:
        """Return the version before the one that serves, where it is still kept."""
        known, serving = self.versions(name), self.serving(name).version
        index = next((index for index, one in enumerate(known) if one.version == serving), -1)
        return next((one for one in known[index + 1 :] if one.version != serving), None)

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take a row whose key begins with `PREFIX`.

        Raises
        ------
        ValueError
            Where it is malformed; the text names its key.
        """
        _, name, *rest = key.decode(errors="replace").split("/")
        if unquote(name) not in self._rankers and len(self._rankers) == MAX_RANKERS:
            raise ValueError(f"{key.decode(errors='replace')[:100]}: more than {MAX_RANKERS} rankers")
        ranker = self._rankers.setdefault(unquote(name), _Ranker())
        try:
            self._take(ranker, rest, value)
        # A row may nest deeper than the decoder's stack, even in a field that is not read.
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"{key.decode(errors='replace')}: {error}") from error

    def _take(self, ranker: _Ranker, rest: list[str], value: bytes | None) -> None:
        """Take what a row says of a ranker; `rest` is what follows the ranker's name in its key."""
        match rest, value:
            case [], _:
                ranker.choice = None if value is None else msgspec.json.decode(value, type=Choice)
            case ["pin"], _:
                ranker.pin = None if value is None else msgspec.json.decode(value, type=Choice)
            case ["reliability"], _:
                ranker.chances = None if value is None else msgspec.json.decode(value, type=Chances)
            case [slot], None:
                ranker.versions.pop(_below(N_SLOTS, slot), None)
            case [slot], bytes(version):
                ranker.versions[_below(N_SLOTS, slot)] = read_version(version)
            case [slot, number], None:
                self._drop(ranker, (_below(N_SLOTS, slot), _below(MAX_PARTS, number)))
            case [slot, number], bytes(part):
                place = _below(N_SLOTS, slot), _below(MAX_PARTS, number)
                read = msgspec.msgpack.decode(part, type=VersionPart)
                self._drop(ranker, place)
                if self._n_bytes + len(read.data) > MAX_BYTES:
                    raise ValueError(f"more than {MAX_BYTES} bytes of parts")
                ranker.parts[place] = read
                self._n_bytes += len(read.data)
            case _:
                raise ValueError("no row of a ranker has such a key")

    def _drop(self, ranker: _Ranker, place: tuple[int, int]) -> None:
        dropped = ranker.parts.pop(place, None)
        self._n_bytes -= len(dropped.data) if dropped else 0

    def changes(self) -> Iterator[tuple[str, Served | None]]:
        """Yield each ranker whose version in service has changed, with the new one; None is the blend.

        Raises
        ------
        CheckpointError
            Where a version is damaged, or not for this release's features. The one before it goes on serving, and
            the error is raised once.
        """
        for name, ranker in self._rankers.items():
            choice = ranker.in_force
            if choice.version == ranker.serving:
                continue
            if choice.version is None:
                ranker.serving = None
                yield name, None
            elif (data := ranker.joined()) is not None:
                ranker.serving = choice.version
                yield name, _read(name, choice.version, data)


def _below(bound: int, text: str) -> int:
    number = int(text)
    if not 0 <= number < bound:
        raise ValueError(f"{number} is not from 0 to {bound - 1}")
    return number


def _read(name: str, version: str, data: bytes) -> Served:
    where = f"{name} {version}"
    read: Served = read_sequence_checkpoint(data, where) if name == SEQUENCE else read_checkpoint(data, where)
    if read.version != version:
        raise CheckpointError(f"{where} holds {read.version}")
    if isinstance(read, Checkpoint) and (name == FUNNEL) != (read.kind == FUNNEL):
        raise CheckpointError(f"{where} holds the ranker {read.kind!r}")
    return read
