"""The registry of versions: rankers on `model-updates`, written in parts, joined again, and which of them serves.

=============================  ==========================================================================
key                            value
=============================  ==========================================================================
`ranker/<name>/<slot>/<part>`  a part of a checkpoint: the version and some of its bytes, MessagePack
`ranker/<name>/<slot>`         `Version` as JSON, written after its parts
`ranker/<name>`                `Choice` as JSON, written after its version: what `learn` has put into service
`ranker/<name>/pin`            `Choice` as JSON: what a person has put into service; it comes first
`ranker/<name>/reliability`    `Chances` as JSON: whether what slates said of stages came true
=============================  ==========================================================================

Slots are used in turn, so the compacted topic keeps the newest versions, to roll back to. Rows may arrive in any order:
a choice takes effect once all parts of its version are there; until then the version before it serves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import msgspec
import numpy as np

from models.names import FUNNEL, STAGES, StageName
from models.numeric.arrays import Doubles
from models.numeric.reliability import N_BINS, N_COLUMNS
from models.online.published import CALIBRATED, Published, Reliability
from models.rankers.checkpoint import Checkpoint, CheckpointError, read_checkpoint

N_SLOTS = 8
"""Newest versions of a ranker that are kept."""
PART_BYTES = 512 * 1024
"""Half of what a Kafka message may hold by default."""
MAX_PARTS = 256
"""128 MiB: no version of a ranker is longer."""
LAST_YEAR = 253_370_764_800_000
"""Unix ms: the beginning of the year 9999, beyond which no calendar shows a time."""
MAX_BYTES = 2**29
"""Of the parts of all rankers: those of the newest eight versions of a few."""
MAX_RANKERS = 256
"""Names: with `per_arm`, one for each variant."""
PREFIX = b"ranker/"

_Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Bin: TypeAlias = tuple[_Amount, _Amount, _Amount]

Slot: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=N_SLOTS)]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a ranker."""

    version: str
    """What the slates name."""
    number: int
    """Rising with each decision of `learn`."""
    slot: Slot
    n_parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)]
    digest: str
    """SHA-256 of the weights."""
    learned_until: Annotated[int, msgspec.Meta(ge=0, lt=LAST_YEAR)]
    """Event time of the newest example, Unix ms."""
    is_rollback: bool = False
    evidence: dict[str, float] = field(default_factory=dict)
    """What decided: `models.online.learner.Published.evidence`."""
    examination: tuple[float, ...] = ()
    """How probable it is that each position of a slate is looked at, relative to the first, as it was known then."""

    @property
    def decision(self) -> str:
        """Why it was published: `better` than the one before, a `rollback` to it, a `reset`, or only `calibrated`."""
        if self.is_rollback:
            return "rollback"
        if CALIBRATED in self.evidence:
            return CALIBRATED
        return "better" if self.evidence else "reset"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which version serves; without a version, none: the blend does."""

    version: str | None
    slot: Slot = 0


@dataclass(frozen=True, slots=True)
class Chances:
    """What slates said of stages, beside what came of it."""

    learned_until: Annotated[int, msgspec.Meta(ge=0, lt=LAST_YEAR)]
    """Event time of the newest slate, Unix ms."""
    stages: Annotated[
        dict[StageName, Annotated[list[_Bin], msgspec.Meta(max_length=N_BINS)]], msgspec.Meta(max_length=8)
    ]
    """Of each stage the bins that hold anything: predictions, their probabilities added up, how many came true."""

    def table(self, stage: StageName) -> Doubles:
        """Return a stage's (N, 3) bins."""
        return np.array(self.stages.get(stage, []), np.float64).reshape(-1, N_COLUMNS)


class Row(NamedTuple):
    """A row of `model-updates`; a value of None is a tombstone."""

    key: str
    value: bytes | None


class _Part(NamedTuple):
    version: str
    data: bytes


def rows_of(name: str, published: Published | Reliability) -> list[Row]:
    """Write what `learn` has to say of a ranker as rows, in the order in which they have to be written."""
    key = f"ranker/{quote(name, safe='.')}"
    if isinstance(published, Reliability):
        held = {
            stage: [(n, said, came_true) for n, said, came_true in table.round(3).tolist() if n]
            for stage, table in zip(STAGES, published.tables, strict=True)
        }
        return [Row(f"{key}/reliability", msgspec.json.encode(Chances(published.learned_until, held)))]
    checkpoint = published.checkpoint
    if checkpoint is None:
        return [Row(key, msgspec.json.encode(Choice(None)))]
    slot = (published.number if published.place is None else published.place) % N_SLOTS
    data = checkpoint.to_bytes()
    parts = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
    version = Version(
        checkpoint.version,
        published.number,
        slot,
        len(parts),
        checkpoint.digest,
        published.learned_until,
        published.is_rollback,
        published.evidence,
        published.examination,
    )
    return [
        *(
            Row(f"{key}/{slot}/{number}", msgspec.msgpack.encode(_Part(checkpoint.version, part)))
            for number, part in enumerate(parts)
        ),
        Row(f"{key}/{slot}", msgspec.json.encode(version)),
        Row(key, msgspec.json.encode(Choice(checkpoint.version, slot))),
    ]


def pin_row(name: str, version: Version | None) -> Row:
    """Write a person's choice as a row; None takes it back, so that `learn`'s choice serves again."""
    key = f"ranker/{quote(name, safe='.')}/pin"
    return Row(key, None if version is None else msgspec.json.encode(Choice(version.version, version.slot)))


@dataclass(slots=True)
class _Ranker:
    """What is known of one ranker."""

    versions: dict[int, Version] = field(default_factory=dict)
    """By slot."""
    parts: dict[tuple[int, int], _Part] = field(default_factory=dict)
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
        known = self._rankers.get(name, _Ranker()).versions.values()
        return sorted(known, key=lambda version: -version.number)

    def chosen(self, name: str) -> Choice:
        """Return which of a ranker's versions `learn` has put into service."""
        return self._rankers[name].choice or Choice(None)

    def pinned(self, name: str) -> Choice | None:
        """Return which of a ranker's versions a person has put into service, None where `learn` decides."""
        return self._rankers[name].pin

    def chances(self, name: str) -> Chances | None:
        """Return whether what slates said by a ranker came true; None where nothing is known."""
        return self._rankers[name].chances if name in self._rankers else None

    def serving(self, name: str) -> Choice:
        """Return which of a ranker's versions is in force: a person's choice, else that of `learn`."""
        return self._rankers[name].in_force

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
                ranker.versions[_below(N_SLOTS, slot)] = _read_version(version)
            case [slot, number], None:
                self._drop(ranker, (_below(N_SLOTS, slot), _below(MAX_PARTS, number)))
            case [slot, number], bytes(part):
                place = _below(N_SLOTS, slot), _below(MAX_PARTS, number)
                read = msgspec.msgpack.decode(part, type=_Part)
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

    def changes(self) -> Iterator[tuple[str, Checkpoint | None]]:
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


def _read_version(value: bytes) -> Version:
    """Read a version's row; in older rows the evidence is called `told`, and its AUC `concordance`.

    Older releases read today's rows as well: they ignore a key that they do not know, and show no evidence.
    """
    row = msgspec.json.decode(value, type=dict[str, Any])
    if "told" in row:
        row["evidence"] = row.pop("told")
    version = msgspec.convert(row, Version)
    if "concordance" in version.evidence:
        version.evidence["pairwise_auc"] = version.evidence.pop("concordance")
    return version


def _read(name: str, version: str, data: bytes) -> Checkpoint:
    checkpoint = read_checkpoint(data, f"{name} {version}")
    if checkpoint.version != version:
        raise CheckpointError(f"{name} {version} holds {checkpoint.version}")
    if (name == FUNNEL) != (checkpoint.kind == FUNNEL):
        raise CheckpointError(f"{name} {version} holds the ranker {checkpoint.kind!r}")
    return checkpoint
