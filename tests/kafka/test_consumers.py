"""The consumer that platforms copy: it serves from the topic alone, and what it says comes back as events."""

import runpy
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import orjson
import pytest

from dataflows.codecs import event_decoder
from dataflows.kafka.reader import scan
from dataflows.kafka.sink import KafkaSink, KafkaSinkPartition
from dataflows.records import Outgoing
from dataflows.run.settings import EventSettings
from models.messages import Event
from tests import places

pytestmark = pytest.mark.kafka

SLATES: Any = runpy.run_path(str(places.ROOT / "deploy" / "consumers" / "slates.py"))["Slates"]


def a_slate(user: str, number: int) -> dict[str, Any]:
    items = [{"item_id": f"i-{number}", "position": 0}]
    return {
        "recommendation_id": f"r-{user}-{number}", "user_id": user, "created_at": number, "n_events": number,
        "items": items,
    }  # fmt: skip


def write(broker: str, prefix: str, *messages: tuple[str, int | None]) -> None:
    sink = KafkaSink({"bootstrap.servers": broker}, f"{prefix}recommendations", f"{prefix}recommend", read_back=False)
    part = KafkaSinkPartition(sink, 0, None)
    part.write_batch([
        Outgoing(user, f"{user}-{number}", None if number is None else orjson.dumps(a_slate(user, number)))
        for user, number in messages
    ])  # fmt: skip
    part.snapshot()
    part.close()


@contextmanager
def following(broker: str, prefix: str) -> Iterator[Any]:
    with closing(SLATES(broker, prefix)) as slates:
        assert slates.is_complete.wait(60)
        yield slates


def test_it_knows_each_users_newest_slate_and_nobody_who_was_erased(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    write(broker, prefix, ("u", 1), ("u", 2), ("v", 1), ("v", None), ("w", 5))
    with following(broker, prefix) as slates:
        known = {user: slates.of(user) for user in ("u", "v", "w", "x")}
    assert {user: slate and slate["n_events"] for user, slate in known.items()} == {
        "u": 2,
        "v": None,
        "w": 5,
        "x": None,
    }


def test_an_empty_topic_is_complete_at_once(broker: str, topics: Callable[..., str]) -> None:
    with following(broker, topics(2)) as slates:
        assert slates.of("u") is None


def test_what_was_shown_and_clicked_comes_back_as_events_that_eddy_takes(
    broker: str, topics: Callable[..., str]
) -> None:
    prefix = topics(1)
    write(broker, prefix, ("u", 1))
    with following(broker, prefix) as slates:
        slate = slates.of("u")
        assert slate is not None
        slates.shown(slate, slate["items"][0])
        slates.clicked(slate, slate["items"][0])
    records = list(scan({"bootstrap.servers": broker}, f"{prefix}events"))
    events = event_decoder(EventSettings())(records)
    assert [(e.event_type, e.item_id, e.recommendation_id, e.position) for e in events if isinstance(e, Event)] == [
        ("impression", "i-1", "r-u-1", 0),
        ("click", "i-1", "r-u-1", 0),
    ]
