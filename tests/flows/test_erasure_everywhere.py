"""A person in all three flows, over files: erased with proof, and brought back by no store, older or lost."""

import json
import shutil
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from dataflows.cli.erasure import ErasureError, erase, export, verify_erasure
from dataflows.run.settings import load
from dataflows.serve.read_models.sqlite import SqliteModel
from tests.dataflows.serve.kept import keep_slates
from tests.flows.test_offline import run, same_collector  # noqa: F401  # the collector is left as it is here too

PERSON = "person-with-a-long-id"
NOW = 1_700_000_000_000
FLOWS = ("learn", "recommend", "evaluate")
EXPERIMENTS = """
experiments:
  - name: page
    variants:
      - {name: control, weight: 1, strategy: {}}
      - {name: treatment, weight: 1, strategy: {sources: {trending: 1.0}}}
"""


def an_event(number: int, user: str) -> dict[str, Any]:
    return {
        "event_id": f"e-{number}-{user}",
        "user_id": user,
        "item_id": f"i-{(3 * number + len(user)) % 9}",
        "event_type": "view",
        "timestamp": NOW + 1_000 * number,
        "context": {"device": f"of-{user}"},
    }


class Installed:
    """The three flows over a folder of topics, as the environment says."""

    def __init__(self, folder: Path) -> None:
        self.topics, self.store, self.older = folder / "topics", folder / "store", folder / "older"
        self.topics.mkdir()
        users = [PERSON, *(f"other-{number}" for number in range(4))]
        self.write("events", *(an_event(number, user) for number in range(5) for user in users))
        self.write("catalog", *({"item_id": f"i-{number}", "title": f"Lamp {number}"} for number in range(9)))

    def write(self, topic: str, *messages: dict[str, Any]) -> None:
        with (self.topics / f"{topic}.jsonl").open("ab") as file:
            file.writelines(orjson.dumps(message) + b"\n" for message in messages)

    def run(self) -> None:
        for flow in FLOWS:
            run(flow, load())

    def use_older(self) -> None:
        shutil.rmtree(self.store)
        shutil.copytree(self.older, self.store)

    def lose(self) -> None:
        shutil.rmtree(self.store)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    installed = Installed(tmp_path)
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)
    settings = {
        "TOPICS__FOLDER": str(installed.topics),
        "RECOVERY__FOLDER": str(installed.store),
        "RECOVERY__PARTITIONS": "2",
        "RECOVERY__EPOCH_INTERVAL_S": "0",
        "RECOVERY__LEARN_EPOCH_INTERVAL_S": "0",
        "LEARN__SHARDS": "2",
        "RANKER__NAME": "mlp",
        "EXPERIMENTS_FILE": str(tmp_path / "experiments.yaml"),
        "PRIVACY__SECRETS": '["a secret"]',
        "PRIVACY__SIGNING_KEY": b64encode(bytes(range(32))).decode(),
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"EDDY_{name}", value)
    monkeypatch.setenv("COLUMNS", "200")
    return installed


def test_an_erased_person_is_found_nowhere_and_comes_back_from_no_store(
    installed: Installed, capsys: pytest.CaptureFixture[str]
):
    installed.run()
    shutil.copytree(installed.store, installed.older)
    export(PERSON)
    data = json.loads(capsys.readouterr().out)
    assert (data["profile"]["events"], len(data["events"]), len(data["recommendations"])) == (5, 5, 5)
    assert data["profile"]["recent_items"][0]["item"].startswith("i-")
    with pytest.raises(ErasureError, match="nobody of this id"):
        verify_erasure(PERSON)

    erase(PERSON)
    with pytest.raises(ErasureError, match="traces from before the erasure are still there"):
        verify_erasure(PERSON)
    restarts = [lambda: None, lambda: None, installed.use_older, installed.lose]
    for prepare in restarts:
        prepare()
        installed.run()
        capsys.readouterr()
        verify_erasure(PERSON)
        assert "nothing from before the erasure is left" in capsys.readouterr().out
    assert not [path for path in installed.store.rglob("part-*") if PERSON.encode() in path.read_bytes()]


def test_a_slate_that_the_door_still_keeps_is_found(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    installed.run()
    erase(PERSON)
    installed.run()
    monkeypatch.setenv("EDDY_SERVE__STORE", str(tmp_path / "newest.sqlite3"))
    with closing(SqliteModel(tmp_path / "newest.sqlite3")) as model:
        keep_slates(model, (PERSON, b'{"created_at": 1}'), ("u-other", b'{"created_at": 1}'))
        with pytest.raises(ErasureError, match="1 traces from before"):
            verify_erasure(PERSON)
        keep_slates(model, (PERSON, None))
        verify_erasure(PERSON)
    assert "the door's store" in capsys.readouterr().out


def test_the_receipts_say_what_went(installed: Installed, capsys: pytest.CaptureFixture[str]):
    installed.run()
    erase(PERSON)
    installed.run()
    capsys.readouterr()
    verify_erasure(PERSON)
    parts = [
        orjson.loads(line)
        for flow in FLOWS
        for line in (installed.topics / "erasure-receipts" / flow / "00000.jsonl").read_bytes().splitlines()
    ]
    counts = {part["place"]: (part["before"], part["after"]) for part in parts}
    assert counts == {
        "recommend.profile": (5, 0),
        "learn.transitions": (5, 0),
        "learn.attribute": (10, 0),
        "evaluate.outcomes": (11, 0),
    }
    assert all(part["signature"] for part in parts)
    assert not any(PERSON in json.dumps(part) for part in parts)
