"""Versions of rankers and of the sequence model as rows of `model-updates`, written in parts.

=============================  ==========================================================================
key                            value
=============================  ==========================================================================
`ranker/<name>/<slot>/<part>`  a part of a checkpoint: the version and some of its bytes, MessagePack
`ranker/<name>/<slot>`         `Version` as JSON, written after its parts
`ranker/<name>`                `Choice` as JSON, written after its version: what `learn` has put into service
`ranker/<name>/pin`            `Choice` as JSON: what a person has put into service; it comes first
`ranker/<name>/reliability`    `Chances` as JSON: whether what slates said of stages came true
=============================  ==========================================================================

Slots are used in turn, so the compacted topic keeps the newest versions, to roll back to. The name `sequence` is the
sequence model's: a person publishes it, or the process in which it goes on learning, each into slots of its own;
`learn` says nothing of it. Its rows stand on several partitions, so each must be there before the next (`in_order`).
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple, TypeAlias
from urllib.parse import quote

import msgspec
import numpy as np

from models.names import SEQUENCE, STAGES, StageName
from models.numeric.arrays import Doubles
from models.numeric.reliability import N_BINS, N_COLUMNS
from models.online.published import CALIBRATED, Published, Reliability
from models.sequence.checkpoint import SequenceCheckpoint

N_SLOTS = 8
"""Newest versions of a ranker that are kept."""
PART_BYTES = 512 * 1024
"""Half of what a Kafka message may hold by default."""
MAX_PARTS = 256
"""128 MiB: no version of a ranker is longer."""
LAST_YEAR = 253_370_764_800_000
"""Unix ms: the beginning of the year 9999, beyond which no calendar shows a time."""
PREFIX = b"ranker/"
_SLASHES = 2
"""In the key of a version."""
PERSONS_SLOTS = range(3)
"""Of the sequence models that a person has published: what serves, what is pinned, and the next."""
FOLLOWED_SLOTS = range(3, 6)
"""Of those that have gone on learning (`eddy models follow`)."""
NDCG = "ndcg@10"
"""Among the evidence of a sequence model: of acts that it had not learned, among all items."""

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
        """Why it was published: `better` than the one before, a `rollback` to it, a `reset`, or only `calibrated`.

        A sequence model was `published` by a person.
        """
        if self.is_rollback:
            return "rollback"
        if NDCG in self.evidence:
            return "published"
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


class VersionPart(NamedTuple):
    """Some bytes of a version."""

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
    version = Version(
        checkpoint.version,
        published.number,
        slot,
        1,
        checkpoint.digest,
        published.learned_until,
        published.is_rollback,
        published.evidence,
        published.examination,
    )
    return _rows_of_version(key, version, checkpoint.to_bytes())


def rows_of_sequence(
    checkpoint: SequenceCheckpoint,
    known: Collection[Version],
    in_use: Collection[str],
    slots: Iterable[int] = PERSONS_SLOTS,
) -> list[Row]:
    """Write a sequence model as the version that serves from now on, in the order in which rows have to be written.

    Parameters
    ----------
    known : versions that were published before.
    in_use : those of them that may not be written over.
    slots : where it may be written.

    Raises
    ------
    ValueError : it is longer than a version may be.
    """
    taken = {version.slot for version in known if version.version in in_use}
    newest = max((version.number for version in known), default=0)
    number_by_slot = {version.slot: version.number for version in known}
    slot = min(set(slots) - taken, key=lambda one: number_by_slot.get(one, 0))
    evidence = checkpoint.evidence or {NDCG: checkpoint.ndcg, "n_slates": float(checkpoint.n_judged)}
    version = Version(
        checkpoint.version, newest + 1, slot, 1, checkpoint.digest, checkpoint.learned_until, evidence=evidence
    )
    rows = _rows_of_version(f"ranker/{SEQUENCE}", version, checkpoint.to_bytes())
    left_over = next((one.n_parts for one in known if one.slot == slot), 0)
    key = f"ranker/{SEQUENCE}/{slot}"
    # First of all the version that was there is none any more: half written over, nobody may choose it.
    return [Row(key, None), *rows, *(Row(f"{key}/{number}", None) for number in range(len(rows) - 2, left_over))]


def in_order(rows: Iterable[Row], write: Callable[[Row], None], wait: Callable[[], None]) -> None:
    """Write rows of a version, so that whenever this ends, a version that is named is there whole.

    Parameters
    ----------
    wait : until all that was written is there.
    """
    for row in rows:
        is_part = row.key.count("/") > _SLASHES
        if not is_part:
            wait()
        write(row)
        if not is_part:
            wait()
    wait()


def _rows_of_version(key: str, version: Version, data: bytes) -> list[Row]:
    parts = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
    if len(parts) > MAX_PARTS:
        raise ValueError(
            f"{version.version} has {len(data):,} bytes, and a version may have {MAX_PARTS * PART_BYTES:,}"
        )
    return [
        *(
            Row(f"{key}/{version.slot}/{number}", msgspec.msgpack.encode(VersionPart(version.version, part)))
            for number, part in enumerate(parts)
        ),
        Row(f"{key}/{version.slot}", msgspec.json.encode(replace(version, n_parts=len(parts)))),
        Row(key, msgspec.json.encode(Choice(version.version, version.slot))),
    ]


def pin_row(name: str, version: Version | None) -> Row:
    """Write a person's choice as a row; None takes it back, so that `learn`'s choice serves again."""
    key = f"ranker/{quote(name, safe='.')}/pin"
    return Row(key, None if version is None else msgspec.json.encode(Choice(version.version, version.slot)))


def read_version(value: bytes) -> Version:
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
