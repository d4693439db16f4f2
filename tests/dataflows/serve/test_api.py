import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from dataflows.kafka.writer import WriteError
from dataflows.run.infrastructure import ServeSettings
from dataflows.run.settings import Settings
from dataflows.serve.app import make_app
from dataflows.serve.door import Door
from dataflows.serve.openapi import document
from dataflows.serve.read_models.contract import ReadModel
from dataflows.serve.read_models.sqlite import SqliteModel
from models.placements import Placement
from tests.dataflows.serve.kept import keep_items, keep_slates


def a_slate(user_id: str = "u", trigger_id: str = "e-1", item_ids: tuple[str, ...] = ("i-1", "i-2")) -> dict[str, Any]:
    return {
        "recommendation_id": f"slate-of-{trigger_id}", "user_id": user_id, "created_at": 1, "trigger": "event",
        "trigger_id": trigger_id, "experiment": None, "variant": None, "model_version": "blend", "learned_until": 0,
        "n_events": 1, "feature_set": "v3", "version": 1,
        "items": [
            {"item_id": item_id, "position": n, "score": 1.0, "source": "trending", "reason": "popular",
             "reason_code": "trending", "reason_about": None, "propensity": 1.0} for n, item_id in enumerate(item_ids)
        ], "novelty": 0.5, "features": "ADgAPA==",
    }  # fmt: skip


class Platform:
    """Keeps what the door writes; answers a request with a slate where it is told to."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, Any]] = []
        self.on_write: Callable[[str, Any], None] = lambda _topic, _message: None
        self.is_down = False

    async def write(self, topic: str, key: str, value: bytes | None) -> None:
        if self.is_down:
            raise WriteError("no broker answers")
        message = orjson.loads(value or b"null")
        self.written.append((topic, key, message))
        self.on_write(topic, message)


def through_the_door(
    folder: Path,
    use: Callable[[httpx.AsyncClient, Door, Platform], Awaitable[None]],
    serve: ServeSettings | None = None,
    placements: dict[str, Placement] | None = None,
    model: ReadModel | None = None,
) -> None:
    async def run() -> None:
        platform = Platform()
        kept = model or SqliteModel(folder / "newest.sqlite3")
        settings = Settings(serve=serve or ServeSettings(wait_ms=50), placements=placements or {})
        door = Door(settings, kept, asyncio.get_running_loop(), platform)
        transport = httpx.ASGITransport(make_app(door))
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            await use(client, door, platform)

    asyncio.run(run())


def test_a_user_gets_their_newest_slate_without_what_only_learning_needs(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, _platform: Platform) -> None:
        keep_slates(door.model, ("a/b ü", orjson.dumps(a_slate("a/b ü"))))
        answer = await client.get("/users/a%2Fb%20%C3%BC/slate")
        assert answer.status_code == 200
        assert [row["item_id"] for row in answer.json()["items"]] == ["i-1", "i-2"]
        assert answer.json()["items"][0]["reason_code"] == "trending"
        assert "features" not in answer.json()
        whole = await client.get("/users/a%2Fb%20%C3%BC/slate?features=true")
        assert whole.json()["features"] == "ADgAPA=="

    through_the_door(tmp_path, use)


def test_chances_are_handed_on_where_the_slate_has_some(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, _platform: Platform) -> None:
        slate = a_slate()
        slate["items"][0] |= {"p_click": 0.25, "p_cart": 0.0, "p_purchase": 0.01}
        keep_slates(door.model, ("u", orjson.dumps(slate)))
        first, second = (await client.get("/users/u/slate")).json()["items"]
        assert (first["p_click"], first["p_cart"], first["p_purchase"]) == (0.25, 0.0, 0.01)
        assert "p_click" not in second

    through_the_door(tmp_path, use)


def test_a_user_without_a_slate_is_told_how_to_get_one(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, _door: Door, _platform: Platform) -> None:
        answer = await client.get("/users/u/slate")
        assert (answer.status_code, answer.json()["error"]) == (404, "no_slate")
        assert "/events" in answer.json()["detail"]

    through_the_door(tmp_path, use)


def test_a_request_waits_for_the_slate_made_for_it(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, platform: Platform) -> None:
        def answer_it(_topic: str, request: dict[str, Any]) -> None:
            slate = orjson.dumps(a_slate(trigger_id=request["request_id"]))
            door.hub.publish(request["user_id"], request["request_id"], slate)

        platform.on_write = answer_it
        answer = await client.post("/requests", json={"user_id": "u"})
        assert answer.json()["fallback"] is None
        topic, key, request = platform.written[0]
        assert (topic, key) == ("requests", "u")
        assert answer.json()["slate"]["trigger_id"] == request["request_id"]

    through_the_door(tmp_path, use)


def test_a_request_whose_slate_does_not_come_gets_the_newest_one_and_is_told(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, _platform: Platform) -> None:
        keep_slates(door.model, ("u", orjson.dumps(a_slate())))
        answer = await client.post("/requests", json={"user_id": "u"})
        assert (answer.status_code, answer.json()["fallback"]) == (200, "newest")
        nobody = await client.post("/requests", json={"user_id": "nobody"})
        assert (nobody.status_code, nobody.json()["error"]) == (504, "no_answer")

    through_the_door(tmp_path, use)


def test_a_request_for_a_placement_gets_no_slate_of_another(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, _platform: Platform) -> None:
        asked = {"user_id": "u", "placement": "cart"}
        keep_slates(door.model, ("u", orjson.dumps(a_slate())))
        assert (await client.post("/requests", json=asked)).json()["error"] == "no_answer"
        keep_slates(door.model, ("u", orjson.dumps(a_slate() | {"placement": "cart"})))
        answer = (await client.post("/requests", json=asked)).json()
        assert (answer["fallback"], answer["slate"]["placement"]) == ("newest", "cart")
        refused = await client.post("/requests", json=asked | {"placement": "crat"})
        assert (refused.status_code, refused.json()["error"]) == (400, "unknown_placement")

    through_the_door(tmp_path, use, placements={"cart": Placement()})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"7", "malformed"),
        (b"[1]", "malformed"),
        (b'{"user_id": "u"}', "missing_field"),
        (b'{"user_id": 7, "item_id": "i", "event_type": "click"}', "wrong_type"),
        (b'{"user_id": "u", "item_id": "i", "event_type": "clik"}', "unknown_event_type"),
        (b'{"user_id": "u", "item_id": "i", "event_type": "click", "timestamp": 9000000000000}', "future"),
        (b'[{"user_id": "u", "item_id": "i", "event_type": "click"}, {"user_id": ""}]', "invalid_value"),
    ],
)
def test_wrong_events_are_refused_with_the_flows_own_reasons_and_nothing_is_written(
    tmp_path: Path, body: bytes, error: str
) -> None:
    async def use(client: httpx.AsyncClient, _door: Door, platform: Platform) -> None:
        answer = await client.post("/events", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"] == error or error == "invalid_value"
        assert platform.written == []

    through_the_door(tmp_path, use)


def test_events_are_keyed_by_user_and_get_an_id_and_a_time_where_they_have_none(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, _door: Door, platform: Platform) -> None:
        event = {"user_id": "u", "item_id": "i", "event_type": "click"}
        answer = await client.post("/events", json=[event, event | {"event_id": "mine", "timestamp": 7}])
        assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
        (_, key, first), (_, _, second) = platform.written
        assert key == "u"
        assert first["event_id"] == answer.json()["event_ids"][0]
        assert first["timestamp"] > 1_700_000_000_000
        assert (second["event_id"], second["timestamp"]) == ("mine", 7)

    through_the_door(tmp_path, use)


def test_a_broker_that_is_away_is_said_and_not_taken_for_success(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, _door: Door, platform: Platform) -> None:
        platform.is_down = True
        answer = await client.post("/events", json={"user_id": "u", "item_id": "i", "event_type": "click"})
        assert (answer.status_code, answer.json()["error"]) == (503, "not_written")

    through_the_door(tmp_path, use)


def test_items_are_written_to_the_catalog_and_added_to_slates_that_ask_for_them(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, platform: Platform) -> None:
        answer = await client.put("/items", json=[{"item_id": "i-1", "title": "One"}])
        assert answer.status_code == 202
        assert platform.written[0][:2] == ("catalog", "i-1")
        wrong = await client.put("/items", json={"item_id": "i-2", "price": -1})
        assert wrong.status_code == 400
        keep_items(door.model, ("i-1", "One"))
        keep_slates(door.model, ("u", orjson.dumps(a_slate())))
        slate = (await client.get("/users/u/slate?items=true")).json()
        assert [row["item"] and row["item"]["title"] for row in slate["items"]] == ["One", None]

    through_the_door(tmp_path, use)


def test_tokens_open_what_their_scope_says_and_no_more(tmp_path: Path) -> None:
    serve = ServeSettings.model_validate({"tokens": {"read": ["r"], "write": ["w"], "admin": ["a"]}, "wait_ms": 50})

    async def use(client: httpx.AsyncClient, _door: Door, _platform: Platform) -> None:
        async def status(method: str, path: str, token: str | None, body: object = None) -> int:
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            return (await client.request(method, path, headers=headers, json=body)).status_code

        event = {"user_id": "u", "item_id": "i", "event_type": "click"}
        assert await status("GET", "/users/u/slate", None) == 401
        assert await status("GET", "/users/u/slate", "wrong") == 401
        assert await status("GET", "/users/u/slate", "r") == 404
        assert await status("POST", "/events", "r", event) == 403
        assert await status("POST", "/events", "w", event) == 202
        assert await status("PUT", "/items", "w", {"item_id": "i"}) == 403
        assert await status("PUT", "/items", "a", {"item_id": "i"}) == 202
        assert await status("DELETE", "/users/u", "w") == 403
        assert await status("DELETE", "/users/u", "a") == 202
        assert await status("POST", "/rankers/mlp/rollback", "w") == 403
        assert await status("GET", "/erasures/x", None) == 401
        assert await status("GET", "/users/u/slate?token=r", None) == 404
        assert await status("GET", "/healthz", None) == 200
        assert await status("GET", "/openapi.json", None) == 200

    through_the_door(tmp_path, use, serve)


def test_a_door_that_others_can_reach_needs_tokens() -> None:
    with pytest.raises(ValueError, match="EDDY_SERVE__TOKENS"):
        ServeSettings(host="0.0.0.0")  # noqa: S104 - that is what is refused


def test_a_body_that_is_too_long_is_refused_whether_or_not_it_says_so(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, _door: Door, platform: Platform) -> None:
        async def pieces() -> Any:
            for _ in range(4):
                yield b" " * 500

        assert (await client.post("/events", content=b" " * 2_000)).status_code == 413
        assert (await client.post("/events", content=pieces())).status_code == 413
        assert platform.written == []

    through_the_door(tmp_path, use, ServeSettings(max_body_bytes=1_024))


def test_the_contract_names_every_route_and_only_schemas_that_it_holds(tmp_path: Path) -> None:
    contract = document()
    text = orjson.dumps(contract).decode()
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(contract["components"]["schemas"])

    async def use(client: httpx.AsyncClient, _door: Door, _platform: Platform) -> None:
        assert (await client.get("/openapi.json")).json() == contract
        for path, methods in contract["paths"].items():
            if "stream" not in path:
                for method in methods:
                    answer = await client.request(method, path.replace("{user}", "u"), content=b"{")
                    assert answer.status_code != 405, (method, path)

    through_the_door(tmp_path, use)


def test_the_page_is_there_with_all_that_it_loads(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, _door: Door, _platform: Platform) -> None:
        page = await client.get("/")
        assert "<title>Eddy, live</title>" in page.text
        for name in ("eddy.js", "eddy.css", "http.js", "vendor/uPlot.esm.js", "vendor/uPlot.min.css"):
            assert (await client.get(f"/{name}")).status_code == 200, name

    through_the_door(tmp_path, use)


def test_answers_are_timed_by_route_and_by_no_name_that_a_caller_invents(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, _platform: Platform) -> None:
        keep_slates(door.model, ("u", orjson.dumps(a_slate())))
        await client.get("/users/u/slate")
        await client.get("/users/nobody/slate")
        for path in ("/a-path", "/another"):
            await client.get(path)
        for method in ("GET", "BREW", "STEEP"):
            await client.request(method, "/healthz")
        answer = await client.get("/metrics")
        counted = [line for line in answer.text.splitlines() if line.startswith("eddy_door_seconds_count")]
        assert sorted(counted) == [
            'eddy_door_seconds_count{method="GET",route="/healthz",status="200"} 1.0',
            'eddy_door_seconds_count{method="GET",route="/users/{user:path}/slate",status="200"} 1.0',
            'eddy_door_seconds_count{method="GET",route="/users/{user:path}/slate",status="404"} 1.0',
            'eddy_door_seconds_count{method="GET",route="other",status="404"} 2.0',
            'eddy_door_seconds_count{method="other",route="other",status="405"} 2.0',
        ]

    through_the_door(tmp_path, use)


def test_a_call_that_there_is_not_is_answered_in_json(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, _door: Door, _platform: Platform) -> None:
        for method, path, status in (("POST", "/event", 405), ("POST", "/items", 405), ("GET", "/nothing", 404)):
            answer = await client.request(method, path, content=b"{}")
            assert (answer.status_code, answer.json()["error"]) == (status, "no_such_call")
            assert f"{method} {path} is no call" in answer.json()["detail"]

    through_the_door(tmp_path, use)
