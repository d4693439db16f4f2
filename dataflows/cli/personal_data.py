"""One person's traces on the topics and in the stores: what `verify-erasure` must not find and `export` gives away."""

import struct
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from dataflows.files.source import FileSource, read_whole
from dataflows.kafka.reader import scan
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.store.files import partition_files, reading
from dataflows.store.persons import erased_until
from dataflows.store.states import USER_STEPS, unpickle
from dataflows.topics import FLOWS
from models.items.wire import USER
from models.messages import DeadLetter, Erasure, ErasureReceipt
from models.numeric.ids import hash64
from models.pseudonyms import StateKeys

PLATFORM = "kept by the platform until its retention; every flow leaves it out"
COMPACTION = "older ones wait for compaction"
MIN_SEARCHED = 6
"""A shorter id is found by chance in any bytes, and searched for as a key alone."""


@dataclass(slots=True)
class Place:
    """What was looked through, and what of the person it holds."""

    name: str
    n_looked_at: int = 0
    n_found: int = 0
    """From before the erasure, and still there."""
    n_waiting: int = 0
    """From before it, but overwritten or out of use."""
    note: str = ""


@dataclass(frozen=True)
class Person:
    """Whose traces are sought."""

    user_id: str
    keys: tuple[str, ...]
    """All state keys that the user may have had; the one in force first."""
    requested_at: int = 0
    """The newest erasure, Unix ms."""

    @property
    def hashes(self) -> set[int]:
        """Hashes of the keys."""
        return set(map(hash64, self.keys))


def records_of(settings: Settings, topic: str) -> Iterator[Record]:
    """Give all that a topic holds, on the cluster or in files."""
    name = settings.topics.prefix + topic
    if settings.topics.folder is None:
        return scan(settings.kafka.client(), name)
    parts = [name, *(f"{name}/{flow}" for flow in FLOWS)] if topic in {"dead-letters", "erasure-receipts"} else [name]
    folder, packed = settings.topics.folder, topic == "model-updates"
    sources = (FileSource(folder, part, optional=True, packed=packed) for part in parts)
    return chain.from_iterable(chain.from_iterable(read_whole(source) for source in sources))


def fields_of(value: bytes | None) -> dict[str, Any]:
    """Read a message's fields; none where it is no object."""
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def find_person(settings: Settings, keys: StateKeys, user_id: str) -> Person:
    """Look up when a user asked last to be forgotten."""
    newest = 0
    for record in records_of(settings, "erasures"):
        try:
            erasure = msgspec.json.decode(record.value or b"", type=Erasure)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if erasure.user_id == user_id:
            newest = max(newest, erasure.requested_at)
    return Person(user_id, keys.every(user_id), newest)


def receipts_of(settings: Settings, person: Person) -> dict[str, ErasureReceipt]:
    """Read the newest receipt of each place."""
    found = {}
    for record in records_of(settings, "erasure-receipts"):
        try:
            receipt = msgspec.json.decode(record.value or b"", type=ErasureReceipt)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if receipt.state_key in person.keys:
            found[receipt.place] = receipt
    return found


def search_topics(settings: Settings, person: Person) -> Iterator[Place]:
    """Look through every topic that could hold something of a person."""
    for topic in ("events", "requests"):
        place = Place(topic, note=PLATFORM)
        for record in records_of(settings, topic):
            fields = fields_of(record.value)
            place.n_looked_at += 1
            place.n_waiting += fields.get("user_id") == person.user_id and is_older(fields, person)
        yield place
    for topic in ("recommendations", "assignments"):
        yield _keyed_by_user(settings, topic, person)
    yield _dead_letters(settings, person)
    yield _model_updates(settings, person)
    place = Place("experiment-results")
    for record in records_of(settings, "experiment-results"):
        place.n_looked_at += 1
        place.n_found += _mentions(record.value or b"", person)
    yield place


def is_older(fields: dict[str, Any], person: Person) -> bool:
    """Say whether a message is from before a person's erasure; one without a time is."""
    at = next((fields[name] for name in ("timestamp", "created_at", "assigned_at") if name in fields), 0)
    return not isinstance(at, int) or at <= person.requested_at


def _keyed_by_user(settings: Settings, topic: str, person: Person) -> Place:
    """Look whether the newest message of a person is a tombstone, or is from after the erasure."""
    place, newest_is_old = Place(topic), False
    for record in records_of(settings, topic):
        place.n_looked_at += 1
        fields = fields_of(record.value)
        if person.user_id not in (fields.get("user_id"), (record.key or b"").decode(errors="replace")):
            continue
        newest_is_old = record.value is not None and is_older(fields, person)
        place.n_waiting += newest_is_old
    place.n_found, place.n_waiting = int(newest_is_old), place.n_waiting - newest_is_old
    place.note = COMPACTION if place.n_waiting else ""
    return place


def letters_of(settings: Settings, person: Person) -> tuple[int, dict[str, Record]]:
    """Count the dead letters; give those that hold a message of a person, by key, without those that are deleted."""
    found: dict[str, Record] = {}
    n = 0
    for record in records_of(settings, "dead-letters"):
        n += 1
        fields = fields_of(record.value)
        key = (record.key or b"").decode(errors="replace") or "{topic}/{partition}/{offset}".format_map(
            {"topic": "", "partition": 0, "offset": 0} | fields
        )
        if record.value is None:
            found.pop(key, None)
            continue
        try:
            letter = msgspec.json.decode(record.value, type=DeadLetter)
            owner, payload = b64decode(letter.key or ""), b64decode(letter.payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        is_theirs = person.user_id in (owner.decode(errors="replace"), fields_of(payload).get("user_id"))
        if is_theirs and letter.received_at <= person.requested_at:
            found[key] = record
    return n, found


def _dead_letters(settings: Settings, person: Person) -> Place:
    n, found = letters_of(settings, person)
    return Place("dead-letters", n, len(found), 0, "`eddy erase` takes them away" if found else "")


def _model_updates(settings: Settings, person: Person) -> Place:
    """Look for rows of sessions whose user is the person; no other row says whose it is."""
    place, newest = Place("model-updates"), dict[bytes, bool]()
    hashes = person.hashes
    for record in records_of(settings, "model-updates"):
        place.n_looked_at += 1
        key = record.key or b""
        if not key.startswith(b"sessions/"):
            continue
        words = np.frombuffer(record.value or b"", np.int64)
        is_theirs = bool(len(words) > USER and int(words[USER]) in hashes and int(words[3]) <= person.requested_at)
        place.n_waiting += is_theirs
        newest[key] = is_theirs
    place.n_found = sum(newest.values())
    place.n_waiting -= place.n_found
    place.note = COMPACTION if place.n_waiting else ""
    return place


def search_stores(folder: Path, person: Person) -> Iterator[Place]:
    """Look through every recovery store: by key, and in all states for what stands for the person.

    Raises
    ------
    StoreError : a store cannot be read.
    """
    places: dict[str, Place] = {}
    came_back = False
    marks = _marks(person)
    stores = [folder / flow for flow in FLOWS if partition_files(folder / flow)]
    for store in stores:
        with reading(store) as moment:
            for (step_id, key), row in moment.newest().items():
                place = places.setdefault(step_id, Place(step_id))
                place.n_looked_at += 1
                change = row.change or b""
                if step_id in USER_STEPS:
                    if key in person.keys:
                        is_new = erased_until(step_id, unpickle(change)) >= person.requested_at
                        place.n_found += not is_new
                        came_back = came_back or is_new
                elif any(mark in change for mark in marks):
                    place.n_found += 1
    for place in places.values():
        if came_back and place.name not in USER_STEPS and place.n_found:
            place.n_found, place.n_waiting, place.note = 0, place.n_found, "the user has come back since the erasure"
        yield place
    for store in stores:
        files = [path for path in store.iterdir() if path.is_file()]
        n = sum(path.read_bytes().count(key.encode()) for path in files for key in _searched(person))
        note = "keys of forgotten states and older pages; the next start of the flow wipes them" if n else ""
        yield Place(f"{store.name} store, all bytes", len(files), 0, n, note)


def _searched(person: Person) -> list[str]:
    return [key for key in person.keys if len(key) >= MIN_SEARCHED]


def _marks(person: Person) -> list[bytes]:
    """Return the bytes that a person's keys have in states: as text, and their hashes in both orders."""
    texts = [key.encode() for key in _searched(person)]
    return texts + [struct.pack(order, user) for user in person.hashes for order in ("<q", ">q")]


def _mentions(value: bytes, person: Person) -> bool:
    return any(f'"{key}"'.encode() in value for key in person.keys)
