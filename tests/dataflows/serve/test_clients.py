"""The client in TypeScript of the docs, over a door that no flow stands behind; test_up.py has it over all of Eddy."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.browser.test_operate import served
from tests.dataflows.serve.test_api import Platform, a_slate
from tests.places import ROOT
from tests.typescript import checked, ran

CLIENT = (ROOT / "dataflows" / "SERVE.md").read_text().split("```typescript\n")[1].split("```")[0]


def test_the_client_of_the_docs_is_typed_and_gets_the_slate_that_was_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "client").mkdir()
    platform = Platform()
    with served(tmp_path / "door", platform) as (address, door):

        def answer_it(topic: str, message: Any) -> None:
            if topic == "requests":
                slate = orjson.dumps(a_slate(message["user_id"], message["request_id"]))
                door.hub.publish(message["user_id"], message["request_id"], slate)

        platform.on_write = answer_it
        folder = checked(tmp_path / "client", client=CLIENT.replace("http://127.0.0.1:8000", address))
        said = ran(folder, "client")
    assert said.splitlines() == ["0 i-1 popular", "1 i-2 popular"]
    assert [(topic, message["user_id"]) for topic, _, message in platform.written] == [
        ("events", "u-7"),
        ("requests", "u-7"),
    ]


def test_the_client_of_the_docs_says_what_the_door_says_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "client").mkdir()
    with served(tmp_path / "door", Platform()) as (address, _):
        wrong = CLIENT.replace("http://127.0.0.1:8000", address).replace('"click"', '"clik"')
        with pytest.raises(AssertionError, match="event_type is none of"):
            ran(checked(tmp_path / "client", client=wrong), "client")
