"""`eddy erase`, `eddy verify-erasure`, `eddy export`: a person's right to be forgotten, to proof, and to their data."""

import sys
import time
import uuid
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from dataflows.cli.personal_data import (
    Person,
    Place,
    fields_of,
    find_person,
    is_older,
    letters_of,
    receipts_of,
    records_of,
    search_stores,
    search_topics,
)
from dataflows.codecs import encode
from dataflows.errors import EddyError
from dataflows.kafka.writer import KafkaWriter
from dataflows.receipts import is_signed_by
from dataflows.run.recovery_store import store_folder
from dataflows.run.resources import expected_receipts, receipt_signer, state_keys
from dataflows.run.settings import Settings, load
from dataflows.serve.read_models.choice import chosen_model
from dataflows.store.contents import describe_user
from dataflows.store.files import partition_files, reading
from dataflows.topics import FLOWS
from models.messages import Erasure, ErasureReceipt
from models.numeric.ids import hash64

LOOK_EVERY_S = 0.5
NOT_LOOKED_AT = "not looked at"

User = Annotated[str, typer.Argument(help="The user_id, as it stands in events.")]


class ErasureError(EddyError):
    """An erasure was not answered, or something of the person is still there."""


def erase(
    user: User,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the flows' receipts, and print them.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for them.")] = 120.0,
) -> None:
    """Forget a user: write an erasure, and take the user's dead letters away.

    Everything until now is forgotten, by every flow, whenever it comes up again. With --wait the receipts of all flows
    are printed: what each place held before and after. `evaluate` is waited for where experiments are declared.
    """
    settings = load()
    now_ms = int(time.time() * 1_000)
    erasure = Erasure(f"eddy-{uuid.uuid4().hex}", user, now_ms)
    _write(settings, "erasures", [(user, encode(erasure))])
    person = Person(user, state_keys(settings).every(user), now_ms)
    if settings.topics.folder is None:
        _, letters = letters_of(settings, person)
        _write(settings, "dead-letters", [(key, None) for key in letters])
        typer.echo(f"erasure {erasure.erasure_id} is written; {len(letters)} dead letters are taken away")
    else:
        typer.echo(f"erasure {erasure.erasure_id} is written; dead letters of file topics are files of your own")
    if wait:
        _print_receipts(_wait_for_receipts(settings, person, erasure, timeout_s))


def _write(settings: Settings, topic: str, messages: list[tuple[str, bytes | None]]) -> None:
    name = settings.topics.prefix + topic
    if settings.topics.folder is not None:
        with (settings.topics.folder / f"{name}.jsonl").open("ab") as file:
            file.writelines(value + b"\n" for _, value in messages if value is not None)
    elif messages:
        writer = KafkaWriter(settings.kafka.client() | settings.kafka.producer_options, name)
        for key, value in messages:
            writer.write(key, value)
        writer.flush()


def _wait_for_receipts(
    settings: Settings, person: Person, erasure: Erasure, timeout_s: float
) -> dict[str, ErasureReceipt]:
    expected, deadline = expected_receipts(settings), time.monotonic() + timeout_s
    while True:
        found = {
            place: receipt
            for place, receipt in receipts_of(settings, person).items()
            if receipt.erasure_id == erasure.erasure_id
        }
        silent = sorted(flow for flow, places in expected.items() if not places <= found.keys())
        if not silent:
            return found
        if time.monotonic() > deadline:
            raise ErasureError(
                f"no receipt of {', '.join(silent)} after {timeout_s:g} s: the erasure is written and holds as soon as "
                "they read it. Look whether they run (`eddy doctor`), then `eddy verify-erasure`"
            )
        time.sleep(LOOK_EVERY_S)


def _print_receipts(receipts: dict[str, ErasureReceipt]) -> None:
    table = Table("place", "what", "before", "after", "erased at", "signed", "note")
    for place, receipt in sorted(receipts.items()):
        at = datetime.fromtimestamp(receipt.erased_at / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        signed = "yes" if receipt.signature else "no key is set"
        table.add_row(place, receipt.what, str(receipt.before), str(receipt.after), at, signed, receipt.note)
    Console().print(table)


def verify_erasure(user: User) -> None:
    """Look for a user everywhere, and check the receipts' signatures; exit code 1 where anything is found.

    Every topic is read, every recovery store where EDDY_RECOVERY__FOLDER says where they are, and the door's store
    where EDDY_SERVE__STORE or EDDY_SERVE__STORE_URL does. What only waits for compaction, and what the platform itself
    keeps on `events` and `requests`, is listed and is no finding. While the stores are not looked at, nothing is
    proven.
    """
    settings = load()
    person = find_person(settings, state_keys(settings), user)
    if not person.requested_at:
        raise ErasureError("nobody of this id has asked to be forgotten: `eddy erase` does it")
    places = list(search_topics(settings, person))
    folder = settings.recovery.folder
    if folder is None:
        places.append(Place("stores", note=f"{NOT_LOOKED_AT}: EDDY_RECOVERY__FOLDER says where they are"))
    else:
        places += search_stores(folder, person)
    places.append(_search_door(settings, person))
    _print_places(places)
    receipts = receipts_of(settings, person)
    _print_receipts(receipts)
    wrong = _unsigned(settings, receipts.values())
    if n := sum(place.n_found for place in places):
        raise ErasureError(f"{n} traces from before the erasure are still there: are all flows running?")
    if wrong:
        raise ErasureError(f"the signature of {', '.join(wrong)} is not of this installation's key")
    if folder is None:
        raise ErasureError(
            "nothing from before the erasure was found, but nothing is proven: the flows' stores, which hold the "
            "profiles, were not looked at. Say by EDDY_RECOVERY__FOLDER where they are"
        )
    unseen = [place.name for place in places if place.note.startswith(NOT_LOOKED_AT)]
    typer.echo(
        "nothing from before the erasure is left"
        + (f", as far as was looked: not in {' and '.join(unseen)}" if unseen else "")
    )


def _search_door(settings: Settings, person: Person) -> Place:
    """Look whether the door would still give away a slate from before the erasure."""
    place, file = Place("the door's store"), settings.serve.store
    if settings.serve.store_url is None and (file is None or not file.exists()):
        place.note = f"{NOT_LOOKED_AT}: EDDY_SERVE__STORE or EDDY_SERVE__STORE_URL says where it is"
        return place
    with closing(chosen_model(settings, file or Path())) as model:
        model.prepare()
        slate = model.slate(person.user_id)
        place.n_looked_at = model.counts()["slates"]
    place.n_found = int(slate is not None and is_older(fields_of(slate), person))
    return place


def _print_places(places: Iterable[Place]) -> None:
    table = Table("place", "looked at", "found", "waits", "note")
    for place in places:
        table.add_row(place.name, f"{place.n_looked_at:,}", str(place.n_found), str(place.n_waiting), place.note)
    Console().print(table)


def _unsigned(settings: Settings, receipts: Iterable[ErasureReceipt]) -> list[str]:
    key = receipt_signer(settings).verification_key
    if key is None:
        return []
    return sorted(receipt.place for receipt in receipts if not is_signed_by(receipt, key))


def export(user: User) -> None:
    """Print what is kept of a user as JSON: the profile, slates, assignments, and what the topics still hold.

    The profile needs EDDY_RECOVERY__FOLDER: without it, `not_looked_at` names the stores. Items are named where the
    catalog is known, and else by their hashes.
    """
    settings = load()
    keys = state_keys(settings).every(user)
    data: dict[str, Any] = {"user_id": user, "profile": None, "kept": {}}
    for topic in ("events", "requests", "recommendations", "assignments"):
        data[topic] = [
            fields
            for record in records_of(settings, topic)
            if (fields := fields_of(record.value)).get("user_id") == user
        ]
    if settings.recovery.folder is None:
        del data["profile"], data["kept"]
        data["not_looked_at"] = ["stores"]
        Console(stderr=True).print(
            "the profile is not in this: EDDY_RECOVERY__FOLDER says where the flows' stores are", style="yellow"
        )
    else:
        kept = _kept(settings, keys)
        data["kept"], data["profile"] = kept, _named(kept.get("recommend.profile"), _item_names(settings, data))
    sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n")


def _kept(settings: Settings, keys: Iterable[str]) -> dict[str, Any]:
    """Describe what the stores of all flows keep under any of a user's keys."""
    kept: dict[str, Any] = {}
    for flow in FLOWS:
        folder = store_folder(settings, flow)
        if folder is not None and partition_files(folder):
            with reading(folder) as moment:
                for key in keys:
                    kept |= describe_user(moment, key, settings)
    return kept


def _named(profile: dict[str, Any] | None, items: Iterable[str]) -> dict[str, Any] | None:
    """Name the items of a profile where they are known."""
    if profile is None:
        return None
    names = {f"{hash64(item):016x}": item for item in items}
    named = dict(profile)
    named["recent_items"] = [
        recent | {"item": names.get(recent["item"], recent["item"])} for recent in named["recent_items"]
    ]
    named["owned"] = [names.get(item, item) for item in named["owned"]]
    named["shown"] = {names.get(item, item): n for item, n in named["shown"].items()}
    return named


def _item_names(settings: Settings, data: dict[str, Any]) -> set[str]:
    names = {event["item_id"] for event in data["events"] if isinstance(event.get("item_id"), str)}
    names |= {item["item_id"] for slate in data["recommendations"] for item in slate.get("items", ())}
    catalog = (fields_of(record.value).get("item_id") for record in records_of(settings, "catalog"))
    return names | {name for name in catalog if isinstance(name, str)}
