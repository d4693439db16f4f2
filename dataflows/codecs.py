"""How each message is read, validated and written. What cannot be used becomes a dead letter with its reason."""

from base64 import b64encode
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Generic, TypeAlias, TypeVar

import msgspec
import orjson

from dataflows.plausible import Clock, Fault, Latest, Plausible, in_seconds, now
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.messages import (
    MAX_ID,
    Assignment,
    DeadLetter,
    Erasure,
    ErasureReceipt,
    Event,
    ExperimentResult,
    Item,
    Original,
    Request,
    Slate,
)
from models.names import DEFAULT_PLACEMENT, FEATURE_SET, FEATURES
from models.online.outcome import ShownSlate

M = TypeVar("M")
S = TypeVar("S", bound=ShownSlate)

Check = Callable[[M, Record], Fault]
"""Finds what is wrong with a message that decodes."""

KeyedDecoder: TypeAlias = Callable[[list[Record]], list[tuple[str, M | None] | DeadLetter]]
"""Reads a topic with tombstones: (key, message) or a dead letter for each record; a tombstone gives (key, None)."""

MAX_SLATE_BYTES = 1_000_000
"""A slate of a hundred items with their features has some 50 KB; it is our own, and bounded by Kafka alone."""

MAX_LETTER_VALUE = 512 * 1024
MAX_LETTER_KEY = 64 * 1024
MAX_DETAIL = 1_000
"""What a dead letter holds of a record, so that in base64, a third longer, it is within the million bytes that a Kafka
message may have by default: a letter that no topic takes would stop its flow for ever."""

_VALUE_FAULTS = ("of length", "matching", ">=", "<=", "> ", "< ", "multiple")


def whatever_decodes(_message: object, _record: Record) -> None:
    """Find nothing wrong."""


def _no_fault(_slate: ShownSlate) -> None:
    """Find nothing wrong with what attribution does not read."""


@dataclass(frozen=True, slots=True)
class Decoder(Generic[M]):
    """Reads one topic's messages, in batches: as many results as records, in their order."""

    topic: str
    kind: type[M]
    max_bytes: int
    check: Check[M] = whatever_decodes

    def __call__(self, records: list[Record]) -> list[M | DeadLetter]:
        """Decode a batch; each record gives a message or a dead letter."""
        decode = msgspec.json.Decoder(self.kind).decode
        decoded: list[M | DeadLetter] = []
        for record in records:
            value = record.value
            if value is None:
                decoded.append(self._letter(record, "empty", "the message has no value"))
                continue
            if len(value) > self.max_bytes:
                detail = f"{len(value)} bytes; at most {self.max_bytes} are read"
                decoded.append(self._letter(record, "oversized", detail))
                continue
            try:
                message = decode(value)
            # Deep nesting, even in a field that is not read, is valid JSON but more than the decoder's stack takes.
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                decoded.append(self._letter(record, _reason(error), str(error)))
                continue
            wrong = self.check(message, record)
            decoded.append(message if wrong is None else self._letter(record, *wrong))
        return decoded

    def _letter(self, record: Record, reason: str, detail: str) -> DeadLetter:
        return dead_letter(self.topic, record, reason, detail)


def dead_letter(topic: str, record: Record, reason: str, detail: str) -> DeadLetter:
    """Wrap a record that cannot be used, with its position and original bytes; of a very long one, the beginning."""
    key, value = record.key or b"", record.value or b""
    is_whole = len(value) <= MAX_LETTER_VALUE and len(key) <= MAX_LETTER_KEY
    return DeadLetter(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        detail=detail[:MAX_DETAIL],
        received_at=record.timestamp,
        key=None if record.key is None else b64encode(key[:MAX_LETTER_KEY]).decode(),
        payload=b64encode(value[:MAX_LETTER_VALUE]).decode(),
        original=None if is_whole else Original(len(key), len(value), sha256(value).hexdigest()),
    )


def _reason(error: Exception) -> str:
    """Name what the decoder found, so that letters can be counted by it."""
    text = str(error)
    if "truncated" in text:
        return "truncated"
    if not isinstance(error, msgspec.ValidationError):
        return "malformed"
    if "missing required field" in text:
        return "missing_field"
    return "invalid_value" if any(fault in text for fault in _VALUE_FAULTS) else "wrong_type"


def plausible(settings: EventSettings, clock: Clock) -> Plausible:
    """Set up what is held against times and keys, as the settings say."""
    return Plausible(clock, 1_000 * settings.max_future_s, by_user=settings.keys == "user_id")


def latest_row(settings: EventSettings, clock: Clock = now) -> Latest:
    """Say what time rows and results may be of: events may be ahead of their writer's clock, and that of ours."""
    return Latest(clock, 2_000 * settings.max_future_s)


def event_decoder(settings: EventSettings, clock: Clock = now) -> Decoder[Event]:
    """Read events; refuse unknown event types, and what `Plausible` refuses."""
    weights, wrong = settings.weights, plausible(settings, clock).of_user

    def check(event: Event, record: Record) -> Fault:
        if event.event_type not in weights:
            known = ", ".join(sorted(weights))
            return "unknown_event_type", f"event_type is none of {known}; name it in EDDY_EVENTS__WEIGHTS"
        return wrong(event.user_id, event.timestamp, record)

    return Decoder("events", Event, settings.max_bytes, check)


def request_decoder(
    settings: EventSettings, clock: Clock = now, placements: Collection[str] | None = None
) -> Decoder[Request]:
    """Read requests; refuse unknown placements, and what `Plausible` refuses.

    Parameters
    ----------
    placements : those that are declared; None: any name will do, where no strategy goes by it.
    """
    wrong = plausible(settings, clock).of_user

    def check(request: Request, record: Record) -> Fault:
        if placements is not None and request.placement not in {None, DEFAULT_PLACEMENT, *placements}:
            known = ", ".join([DEFAULT_PLACEMENT, *sorted(placements)])
            return "unknown_placement", f"placement is none of {known}; declare it in `placements` (EDDY_PLACEMENTS)"
        return wrong(request.user_id, request.timestamp, record)

    return Decoder("requests", Request, settings.max_bytes, check)


def erasure_decoder(settings: EventSettings, clock: Clock = now) -> Decoder[Erasure]:
    """Read erasures; refuse what `Plausible` refuses."""
    wrong = plausible(settings, clock).of_user
    return Decoder(
        "erasures",
        Erasure,
        settings.max_bytes,
        lambda erasure, record: wrong(erasure.user_id, erasure.requested_at, record),
    )


def slate_decoder(settings: EventSettings, clock: Clock = now) -> KeyedDecoder[ShownSlate]:
    """Read what attribution needs of slates, by user; see `decoder_of_slates`."""
    return decoder_of_slates(ShownSlate, settings, clock)


def decoder_of_slates(
    kind: type[S], settings: EventSettings, clock: Clock = now, fault: Callable[[S], str | None] = _no_fault
) -> KeyedDecoder[S]:
    """Read slates, by user; without a value, the user that the key names was erased.

    Features of this release's set that are not as many are refused, and a time that is still to come.

    Parameters
    ----------
    kind : what is read of a slate.
    fault : what else is wrong with one; None: nothing.
    """
    wrong = plausible(settings, clock).time

    def check(slate: S, _record: Record) -> Fault:
        if (found := fault(slate)) is not None:
            return "wrong_candidates", found
        try:
            slate.feature_rows()
        except ValueError as error:
            return "wrong_features", f"not the {len(FEATURES)} features of the set {FEATURE_SET}, of each item: {error}"
        return wrong(slate.created_at)

    decode = Decoder("recommendations", kind, max(settings.max_bytes, MAX_SLATE_BYTES), check)
    return keyed(decode, lambda slate: slate.user_id)


def catalog_decoder(settings: EventSettings, clock: Clock = now) -> KeyedDecoder[Item]:
    """Read catalog entries by item id; an entry without a value removes the item named by its key.

    The date of an item that is still to come out is left open, until somebody acts on it: it would be the newest for as
    long. Seconds are refused.
    """
    latest = Latest(clock, 1_000 * settings.max_future_s)

    def wrong(item: Item, _record: Record) -> Fault:
        return in_seconds(item.created_at)

    def entries(records: list[Record]) -> list[tuple[str, Item | None] | DeadLetter]:
        return [
            (entry[0], replace(entry[1], created_at=0))
            if isinstance(entry, tuple) and entry[1] is not None and not latest.allows(entry[1].created_at)
            else entry
            for entry in read(records)
        ]

    read = keyed(Decoder("catalog", Item, settings.max_bytes, wrong), lambda item: item.item_id)
    return entries


def keyed(decode: Decoder[M], key_of: Callable[[M], str]) -> KeyedDecoder[M]:
    """Read a topic with tombstones: records that have a key alone, which is an id and so no longer than one.

    What is made of an id goes to topics as well, where one of half a million characters would be too large for ever.
    """

    def entries(records: list[Record]) -> list[tuple[str, M | None] | DeadLetter]:
        removed = [record.value is None and bool(record.key) for record in records]
        messages = iter(decode([record for record, is_removed in zip(records, removed, strict=True) if not is_removed]))
        decoded: list[tuple[str, M | None] | DeadLetter] = []
        for record, is_removed in zip(records, removed, strict=True):
            if is_removed:
                removed_id = _id_of(record.key or b"")
                detail = f"the key of a message without a value is an id: UTF-8, at most {MAX_ID} characters"
                letter = dead_letter(decode.topic, record, "invalid_value", detail)
                decoded.append(letter if removed_id is None else (removed_id, None))
                continue
            message = next(messages)
            decoded.append(message if isinstance(message, DeadLetter) else (key_of(message), message))
        return decoded

    return entries


def _id_of(key: bytes) -> str | None:
    """Read an id from a record's key; None where it is none."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= MAX_ID else None


class _Times(msgspec.Struct):
    timestamp: int | None = None
    created_at: int | None = None
    assigned_at: int | None = None


def event_time(record: Record) -> int | None:
    """Read the time that an event, slate or assignment is of, Unix milliseconds; None where it does not say."""
    try:
        times = msgspec.json.decode(record.value or b"", type=_Times)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return next((at for at in (times.timestamp, times.created_at, times.assigned_at) if at is not None), None)


def encode(
    message: Slate | Assignment | ExperimentResult | DeadLetter | Event | Request | Item | Erasure | ErasureReceipt,
) -> bytes:
    """Write a message as JSON."""
    return orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
