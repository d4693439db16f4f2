"""The consumer in TypeScript that platforms copy, as test_consumers.py has it in Python."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflows.codecs import event_decoder
from dataflows.kafka.reader import scan
from dataflows.run.settings import EventSettings
from models.messages import Event
from tests.kafka.test_consumers import write
from tests.typescript import CONSUMERS, checked, ran, types_of

pytestmark = pytest.mark.kafka

SLATES = (CONSUMERS / "slates.ts").read_text()
SHOW = """
import { Slates } from "./slates.js";

const [servers, prefix, ...users] = process.argv.slice(2);
const slates = new Slates([servers!], prefix!);
await slates.complete;
console.log(JSON.stringify(users.map((user) => slates.of(user) ?? null)));
const slate = slates.of("u");
if (slate !== undefined) {
  await slates.shown(slate, slate.items[0]!);
  await slates.clicked(slate, slate.items[0]!);
}
await slates.close();
"""
AGREEMENT = """
import type { Slate, SlateEvent } from "./slates.js";
import type { SchemaSlate } from "./slate_schema.js";
import type { SchemaEvent } from "./event_schema.js";

export const read = (slate: SchemaSlate): Slate => slate;
export const written = (event: SlateEvent): SchemaEvent => event;
"""


def shown(folder: Path, broker: str, prefix: str, *users: str) -> list[Any]:
    checked(folder, slates=SLATES, show=SHOW)
    slates: list[Any] = json.loads(ran(folder, "show", broker, prefix, *users))
    return slates


def test_it_knows_each_users_newest_slate_and_nobody_who_was_erased(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    write(broker, prefix, ("w", 1), ("w", 2), ("v", 1), ("v", None), ("ü", 5))
    slates = shown(tmp_path, broker, prefix, "w", "v", "ü", "x")
    assert [slate and slate["n_events"] for slate in slates] == [2, None, 5, None]


def test_an_empty_topic_is_complete_at_once(broker: str, topics: Callable[..., str], tmp_path: Path) -> None:
    assert shown(tmp_path, broker, topics(2), "u") == [None]


def test_what_was_shown_and_clicked_comes_back_as_events_that_eddy_takes(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(1)
    write(broker, prefix, ("u", 1))
    shown(tmp_path, broker, prefix, "u")
    records = list(scan({"bootstrap.servers": broker}, f"{prefix}events"))
    assert {record.key for record in records} == {b"u"}
    events = event_decoder(EventSettings())(records)
    assert [(e.event_type, e.item_id, e.recommendation_id, e.position) for e in events if isinstance(e, Event)] == [
        ("impression", "i-1", "r-u-1", 0),
        ("click", "i-1", "r-u-1", 0),
    ]


def test_its_types_agree_with_the_schemas_of_the_messages(tmp_path: Path) -> None:
    checked(
        tmp_path,
        slates=SLATES,
        slate_schema=types_of("Slate"),
        event_schema=types_of("Event"),
        agreement=AGREEMENT,
    )


def test_types_that_disagree_with_a_schema_are_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="recommendation_id"):
        checked(
            tmp_path,
            slates=SLATES,
            slate_schema=types_of("Slate").replace("recommendation_id", "another_id"),
            event_schema=types_of("Event"),
            agreement=AGREEMENT,
        )
