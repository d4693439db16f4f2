"""The door over a store on a server: what it says while that is lost, and that it goes on by itself."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from dataflows.cli.main import app
from dataflows.errors import EddyError
from dataflows.kafka.reader import Batch
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.serve.asking import Store
from dataflows.serve.door import Door
from dataflows.serve.keeper import Keeper
from dataflows.serve.read_models import choice
from dataflows.serve.read_models.choice import served_model
from dataflows.serve.read_models.contract import LostStoreError
from tests.dataflows.serve.kept import keep_slates
from tests.dataflows.serve.servers import PASSWORD, PASSWORD_IN_URL, SERVERS, RedisServer, StoreServer, running_server
from tests.dataflows.serve.test_api import Platform, a_slate, through_the_door

Use = Callable[[httpx.AsyncClient, Door, Platform], Awaitable[None]]


@pytest.fixture(scope="module", params=[*SERVERS])
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with running_server(request.param) as running:
        yield running


class Log:
    """Stands for the reader of a keeper whose batches a test hands over."""

    def __init__(self) -> None:
        self.begun: dict[tuple[str, int], int] = {("recommendations", 0): 0, ("catalog", 0): 0}
        self.starts: list[Any] = []

    def begin(self, start: Any) -> None:
        self.starts.append(start)


def a_keeper(store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[Keeper, Log, list[Any]]:
    """Make a keeper that no broker stands behind; gives what it has handed on as well."""
    log, handed = Log(), list[Any]()
    monkeypatch.setattr("dataflows.serve.keeper.KafkaReader", lambda *_, **__: log)
    monkeypatch.setattr("dataflows.serve.keeper.topic_id", lambda *_: "an-id")
    return Keeper(Settings(), {}, "door", store, handed.extend, Counter()), log, handed


def records(*slates: tuple[int, str]) -> list[Batch]:
    batch = [Record(0, offset, 0, user.encode(), orjson.dumps(a_slate(user))) for offset, user in slates]
    return [Batch("recommendations", 0, batch)]


def test_who_asks_while_the_store_is_lost_is_told_so_and_answered_once_it_is_back(
    server: StoreServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = served_model(server.url, "lost-")
    model.prepare()
    keep_slates(model, ("u", orjson.dumps(a_slate())))

    async def use(client: httpx.AsyncClient, _door: Door, _platform: Platform) -> None:
        async def status(path: str) -> int:
            return (await client.get(path)).status_code

        assert (await status("/users/u/slate"), await status("/readyz")) == (200, 200)
        server.stop()
        try:
            for path in ("/users/u/slate", "/items?query=x", "/users/u/stream", "/readyz"):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["error"]) == (503, "store_unreachable"), path
            assert await status("/healthz") == 200
            assert 'eddy_ready{flow="serve"} 0.0' in (await client.get("/metrics")).text
            assert (await client.get("/live")).json()["ready"] is False
        finally:
            server.start()
        assert (await status("/readyz"), await status("/users/u/slate")) == (200, 200)
        assert "eddy_door_slates 1.0" in (await client.get("/metrics")).text

    with caplog.at_level(logging.INFO):
        through_the_door(tmp_path, use, model=model)
    model.close()
    said = [record.getMessage() for record in caplog.records if record.name == "dataflows.serve.asking"]
    assert len(said) == 2, said
    assert f"127.0.0.1:{server.port}" in said[0]
    assert not any(secret in caplog.text for secret in (PASSWORD, PASSWORD_IN_URL))


def test_what_comes_while_the_store_is_lost_is_kept_once_it_is_back(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(served_model(server.url, "kept-"))
    keeper, _, handed = a_keeper(store, monkeypatch)
    keeper.take(records((0, "u")))

    async def use() -> None:
        server.stop()
        try:
            keeping = asyncio.create_task(asyncio.to_thread(keeper.take, records((1, "v"))))
            while store.is_well:  # noqa: ASYNC110 - what is waited for happens on another thread
                await asyncio.sleep(0.05)
            assert not keeping.done()
        finally:
            server.start()
        await keeping

    asyncio.run(use())
    assert store.is_well
    assert store.model.slate("v") is not None
    assert [user for user, _, _ in handed] == ["u", "v"]
    store.model.close()


def test_a_door_that_closes_does_not_wait_for_its_store(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(served_model(server.url, "closing-"))
    keeper, _, handed = a_keeper(store, monkeypatch)
    server.stop()
    try:
        keeper.close()
        keeper.take(records((0, "u")))
    finally:
        server.start()
    assert handed == []
    store.model.close()


def test_a_store_that_comes_back_empty_is_filled_from_the_topics_again(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(served_model(server.url, "emptied-"))
    keeper, log, handed = a_keeper(store, monkeypatch)
    keeper.take(records((0, "u"), (1, "v")))
    server.empty()
    keeper.take(records((2, "w")))
    assert log.starts == [{"recommendations": {}, "catalog": {}}]
    assert [user for user, _, _ in handed] == ["u", "v"]
    keeper.take(records((0, "u"), (1, "v"), (2, "w")))
    assert all(store.model.slate(user) is not None for user in "uvw")
    store.model.close()


def test_a_topic_that_gives_offsets_again_is_read_on_from_what_the_store_says(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(served_model(server.url, "again-"))
    keeper, log, _ = a_keeper(store, monkeypatch)
    keeper.take(records((40, "u")))
    monkeypatch.setattr("dataflows.serve.keeper.topic_id", lambda *_: "another-id")
    keeper.take(records((0, "v")))
    assert log.starts == [{"recommendations": {}, "catalog": {}}]
    assert store.model.slate("u") is None
    keeper.take(records((0, "v")))
    assert store.model.slate("v") is not None
    store.model.close()


def test_a_store_that_does_not_answer_at_the_start_is_named_without_its_password(server: StoreServer) -> None:
    wrong = server.url.replace(PASSWORD_IN_URL, "another-secret")
    unknown = server.url.replace(str(server.port), "1")
    for url in (wrong, unknown):
        with pytest.raises(LostStoreError, match="EDDY_SERVE__STORE_URL") as caught:
            served_model(url, "").prepare()
        assert "another-secret" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
        assert PASSWORD_IN_URL not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "extra"), [("redis://127.0.0.1", "redis"), ("postgresql://127.0.0.1/eddy", "postgres")]
)
def test_an_extra_that_is_missing_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, url: str, extra: str
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda _name: None)
    with pytest.raises(EddyError, match=rf"pip install 'eddy-recs\[{extra}\]'"):
        served_model(url, "")


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1/0?socket_timeout=x", "postgresql://127.0.0.1/eddy?sslmode", "redis://127.0.0.1/0?nope=1",
            "postgresql://127.0.0.1:1/eddy?nope=1"],
)  # fmt: skip
def test_a_url_that_a_client_does_not_take_is_an_error_that_a_person_can_fix(url: str) -> None:
    with pytest.raises(LostStoreError, match="EDDY_SERVE__STORE_URL"):
        served_model(url, "").prepare()


def test_a_redis_that_evicts_what_it_likes_is_refused() -> None:
    with running_server("redis") as server:
        assert isinstance(server, RedisServer)
        server.set_eviction("allkeys-lru")
        with pytest.raises(LostStoreError, match="noeviction"):
            served_model(server.url, "").prepare()
        server.set_eviction("noeviction")
        served_model(server.url, "").prepare()


def test_doctor_says_whether_the_store_answers_and_never_its_password(
    server: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDDY_TOPICS__FOLDER", str(tmp_path))
    wrong = server.url.replace(PASSWORD_IN_URL, "another-secret")
    for url, state in ((server.url, "ok"), (wrong, "error")):
        monkeypatch.setenv("EDDY_SERVE__STORE_URL", url)
        said = CliRunner().invoke(app, ["doctor"]).output
        assert next(line for line in said.splitlines() if line.split()[1:2] == ["door"]).split()[0] == state
        assert str(server.port) in said
        assert not any(secret in said for secret in (PASSWORD, PASSWORD_IN_URL, "another-secret"))
    listed = CliRunner().invoke(app, ["doctor", "--settings"]).output
    assert "EDDY_SERVE__STORE_URL=" in listed
    assert "another-secret" not in listed
