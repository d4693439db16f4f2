"""What an operator does through the door."""

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import orjson

from dataflows.codecs import encode
from dataflows.records import Record
from dataflows.serve.door import Door
from models.messages import ErasureReceipt
from models.online.published import Published
from models.online.versions import PREFIX, Choice, rows_of
from models.rankers.checkpoint import Checkpoint, weights_digest
from models.rankers.networks import new_network
from tests.dataflows.serve.test_api import Platform, through_the_door

if TYPE_CHECKING:
    from models.online.registry import VersionRegistry


def publish(door: Door, *numbers: int) -> None:
    for number in numbers:
        model = new_network("linear", 3, number)
        checkpoint = Checkpoint(model, f"linear-{number}", weights_digest(model))
        evidence = {"gain": 0.5, "replaced": 0.4, "n_slates": 640.0}
        published = Published(checkpoint, number, is_rollback=False, learned_until=number, evidence=evidence)
        for row in rows_of("linear", published):
            door.rankers.take(row.key.encode(), row.value)


def a_receipt(erasure_id: str, place: str) -> ErasureReceipt:
    return ErasureReceipt("u", erasure_id, 1, place, "acts", before=3, after=0, erased_at=2)


def a_record(receipt: ErasureReceipt) -> Record:
    return Record(0, 0, 0, b"u/place", encode(receipt))


def test_a_ranker_goes_back_to_the_version_before_and_learn_decides_again_once_released(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, platform: Platform) -> None:
        publish(door, 1, 2)
        assert (await client.post("/rankers/linear/rollback")).json() == {"ranker": "linear", "serves": "linear-1"}
        topic, key, choice = platform.written[-1]
        assert (topic, key, choice) == ("model-updates", "ranker/linear/pin", {"version": "linear-1", "slot": 1})
        door.rankers.take(key.encode(), orjson.dumps(choice))
        (ranker,) = (await client.get("/rankers")).json()["rankers"]
        assert (ranker["serving"], ranker["pinned"]) == ("linear-1", True)
        assert [version["version"] for version in ranker["versions"]] == ["linear-2", "linear-1"]
        nothing = await client.post("/rankers/linear/rollback")
        assert (nothing.status_code, nothing.json()["error"]) == (409, "nothing_older")
        await client.post("/rankers/linear/release")
        assert platform.written[-1] == ("model-updates", "ranker/linear/pin", None)
        assert (await client.post("/rankers/mlp/rollback")).status_code == 404

    through_the_door(tmp_path, use)


def test_the_door_keeps_no_weights_of_the_rankers_whose_versions_it_shows(tmp_path: Path) -> None:
    async def use(_client: httpx.AsyncClient, door: Door, _platform: Platform) -> None:
        publish(door, 1)
        assert door.rankers.read()[0]["serving"] == "linear-1"
        registry: VersionRegistry = door.rankers._registry
        assert list(registry.changes()) == []  # there is nothing to serve it from

    through_the_door(tmp_path, use)


def test_an_erasure_is_written_and_its_receipts_come_one_by_one(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, platform: Platform) -> None:
        answer = await client.delete("/users/a%2Fb")
        assert answer.status_code == 202
        topic, key, erasure = platform.written[-1]
        assert (topic, key, erasure["user_id"]) == ("erasures", "a/b", "a/b")
        where = answer.json()["receipts"]
        assert (await client.get(where)).json()["awaited"] == ["learn", "recommend"]
        door.receipts.take([a_record(a_receipt(erasure["erasure_id"], "recommend.profile"))])
        now = (await client.get(where)).json()
        assert now["awaited"] == ["learn"]
        assert [(receipt["place"], receipt["before"], receipt["after"]) for receipt in now["receipts"]] == [
            ("recommend.profile", 3, 0)
        ]

    through_the_door(tmp_path, use)


def test_what_is_no_receipt_or_no_row_of_a_ranker_is_passed_over(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient, door: Door, _platform: Platform) -> None:
        door.receipts.take([Record(0, 0, 0, None, value) for value in (None, b"{", b"7", b"\xff")])
        door.rankers.take(b"content/i-1", b"a row of another kind")
        assert (await client.get("/rankers")).json() == {"rankers": []}
        door.rankers.take(PREFIX + b"mlp", orjson.dumps(Choice(None)))
        assert (await client.get("/rankers")).json()["rankers"][0]["serving"] is None

    through_the_door(tmp_path, use)
