"""Doors over a broker that share a store on a server: what one has kept the others have, whatever happens to it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import orjson
import pytest
from confluent_kafka import Producer

from dataflows.run.infrastructure import KafkaSettings, ServeSettings, TopicSettings
from dataflows.run.settings import Settings
from dataflows.serve.door import Door, open_door
from dataflows.serve.read_models.choice import served_model
from tests.dataflows.serve.servers import SERVERS, StoreServer, running_server
from tests.dataflows.serve.test_api import a_slate

pytestmark = pytest.mark.kafka
WAIT_S = 60


@pytest.fixture(params=[*SERVERS])
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with running_server(request.param) as running:
        yield running


@contextmanager
def a_door(broker: str, prefix: str, server: StoreServer) -> Iterator[Door]:
    """Open a door that listens to nobody; what it hands to its loop is dropped."""
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=broker),
        topics=TopicSettings(prefix=prefix),
        serve=ServeSettings.model_validate({"store_url": server.url}),
    )
    loop = asyncio.new_event_loop()
    with open_door(settings, served_model(server.url, prefix), loop) as door:
        until(lambda: door.ready)
        yield door
    loop.close()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write(broker: str, prefix: str, *slates: tuple[str, str | None]) -> None:
    """Write slates of users by what triggered them; of None, a tombstone."""
    producer = Producer({"bootstrap.servers": broker})
    for user, trigger in slates:
        value = None if trigger is None else orjson.dumps(a_slate(user, trigger))
        producer.produce(f"{prefix}recommendations", value, user)
    producer.flush(30)


def trigger_of(door: Door, user: str) -> str | None:
    value = door.model.slate(user)
    return None if value is None else str(orjson.loads(value)["trigger_id"])


def test_doors_that_share_a_store_agree_and_one_that_starts_goes_on_where_they_are(
    broker: str, topics: Callable[..., str], server: StoreServer
) -> None:
    prefix = topics(2)
    write(broker, prefix, ("u", "1"), ("v", "1"), ("u", "2"), ("gone", "1"), ("gone", None))
    with ExitStack() as stack:
        doors = [stack.enter_context(a_door(broker, prefix, server)) for _ in range(2)]
        assert [[trigger_of(door, user) for user in ("u", "v", "gone")] for door in doors] == [["2", "1", None]] * 2
        write(broker, prefix, ("v", "2"))
        until(lambda: all(trigger_of(door, "v") == "2" for door in doors))
    write(broker, prefix, ("u", None), ("w", "1"))
    with a_door(broker, prefix, server) as later:
        assert [trigger_of(later, user) for user in ("u", "v", "w")] == [None, "2", "1"]


def test_doors_fill_a_store_again_that_comes_back_empty_though_nothing_is_written(
    broker: str, topics: Callable[..., str], server: StoreServer
) -> None:
    prefix = topics(2)
    write(broker, prefix, ("u", "1"), ("v", "1"), ("gone", "1"), ("gone", None))
    with a_door(broker, prefix, server), a_door(broker, prefix, server):
        server.stop()
        server.start()
        server.empty()
        with ExitStack() as stack:
            looking = served_model(server.url, prefix)
            stack.callback(looking.close)
            until(lambda: _has(looking.counts, {"slates": 2, "items": 0}))
            assert looking.slate("gone") is None


def _has(ask: Callable[[], dict[str, int]], wanted: dict[str, int]) -> bool:
    try:
        return ask() == wanted
    except Exception:  # noqa: BLE001 - tables that are not there yet
        return False
