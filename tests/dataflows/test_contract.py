"""The contract as files: they say what the types say, and what they once said still holds."""

import copy
import json
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from dataflows.cli.main import app, load_command
from dataflows.cli.schema import schema
from dataflows.cli.tail import told
from dataflows.codecs import encode
from dataflows.contract import asyncapi, breaking, described_topics, documents, schemas
from dataflows.errors import EddyError
from dataflows.records import Record
from dataflows.topics import Topic
from models.messages import (
    Assignment,
    DeadLetter,
    Erasure,
    Event,
    Item,
    LikelyItem,
    Location,
    Request,
    Slate,
    SlateItem,
)
from tests import places

CHECKED_IN = places.ROOT / "deploy" / "contract"
FIRST = places.GOLDEN / "contract"
"""The schemas as they were when they were first written: they only ever grow."""

A_SLATE = Slate(
    "r-1", "u-1", 1_700_000_000_000, "event", "e-1", None, None, "blend@7", 0, 3, "v3",
    [
        SlateItem("i-1", 0, 0.75, "trending", "trending now", "trending", None, 1.0),
        LikelyItem("i-2", 1, 0.5, "content", "because you like lamps", "taste", "lamps", 0.25, 0.125, 0.0, 0.01),
    ],
    0.75,
)  # fmt: skip
MESSAGES: list[Any] = [
    A_SLATE,
    Event("e", "u", "i", "click", 1),
    Event("e", "u", "i", "click", 1, value=2.0, context={"hour": 3}),
    Request("r", "u", 1, candidates=["a"]),
    Item("i", price=3.0, margin=1.0),
    Item("i", location=Location(52.5, 13.4, reach_km=5.0)),
    Erasure("x", "u", 1),
    Assignment("u", "test", "left", 0.5, 1, "d"),
    DeadLetter("events", 0, 1, "malformed", "no JSON", 1, None, ""),
]


def test_the_files_are_those_of_this_release():
    """`eddy schema deploy/contract` writes them."""
    for name, text in documents().items():
        assert (CHECKED_IN / name).read_text() == text, name
    found = {path.relative_to(CHECKED_IN).as_posix() for path in CHECKED_IN.rglob("*.json")}
    assert found == documents().keys()


@pytest.mark.parametrize("topic", described_topics(), ids=lambda topic: topic.name)
def test_what_was_once_said_still_holds(topic: Topic):
    old = json.loads((FIRST / f"{topic.value}.json").read_text())
    assert breaking(old, schemas()[topic.value], is_read=topic.written_by == "platform") == []


def check(value: Any, found: dict[str, Any], root: dict[str, Any]) -> None:
    """Hold a value against a schema: names and what is required, in all that it holds."""
    if "$ref" in found:
        check(value, root["$defs"][found["$ref"].rpartition("/")[2]], root)
        return
    if isinstance(value, dict) and "properties" in found:
        assert set(found.get("required", ())) <= value.keys() <= found["properties"].keys()
        for name, part in value.items():
            check(part, found["properties"][name], root)
    elif isinstance(value, list) and "items" in found:
        for part in value:
            check(part, found["items"], root)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_what_its_schema_says(message: Any):
    found = schemas()[type(message).__name__]
    check(orjson.loads(encode(message)), found, found)


def test_every_field_that_the_code_explains_is_explained_in_its_schema():
    event = schemas()["Event"]
    assert event["properties"]["value"]["description"] == "A rating, a price or seconds, by event type."
    assert schemas()["Slate"]["$defs"]["SlateItem"]["properties"]["position"]["description"] == "0 is the top."
    assert event["properties"]["event_id"]["maxLength"] == 256


def test_the_document_refers_to_what_it_holds_and_names_both_directions():
    found = asyncapi()
    text = json.dumps(found)
    for reference in set(msgspec.json.decode(text.encode(), type=dict[str, Any]) and _references(found)):
        at: Any = found
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
    actions = {name: operation["action"] for name, operation in found["operations"].items()}
    assert actions["receiveEvents"] == "receive"
    assert actions["sendRecommendations"] == "send"
    assert found["channels"]["dead-letters"]["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] == [
        "compact", "delete",
    ]  # fmt: skip


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [one for value in part.values() for one in _references(value)]
    return [one for value in part for one in _references(value)] if isinstance(part, list) else []


def changed(name: str, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of Event, and one in which a field has other words."""
    old = schemas()["Event"]
    new = copy.deepcopy(old)
    new["properties"][name] |= changes
    return old, new


def test_what_a_writer_may_not_send_any_more_breaks_and_what_it_may_send_besides_does_not():
    old, new = changed("event_id", maxLength=64)
    assert breaking(old, new, is_read=True) == ["event_id: maxLength is 64, where it was 256"]
    assert breaking(new, old, is_read=True) == []
    old, new = changed("timestamp", type="string")
    assert breaking(old, new, is_read=True) == ["timestamp may not be integer any more"]
    without = copy.deepcopy(old)
    del without["properties"]["context"]
    assert breaking(old, without, is_read=True) == ["context is gone"]
    assert breaking(without, old, is_read=True) == []
    asking = copy.deepcopy(old)
    asking["required"].append("session_id")
    assert breaking(old, asking, is_read=True) == ["session_id is required now"]
    assert breaking(asking, old, is_read=True) == []


def test_bounds_of_what_may_be_left_out_count_as_well():
    old = schemas()["Event"]
    new = copy.deepcopy(old)
    new["properties"]["session_id"]["anyOf"][0]["maxLength"] = 8
    new["properties"]["value"]["anyOf"][0]["minimum"] = 0
    assert breaking(old, new, is_read=True) == [
        "session_id: maxLength is 8, where it was 256",
        "value: minimum is 0, where it was -1000000000000.0",
    ]


def test_an_integer_is_a_number():
    old, new = changed("timestamp", type="number")
    assert breaking(old, new, is_read=True) == []
    assert breaking(old, new, is_read=False) == ["timestamp may be number now"]
    assert breaking(new, old, is_read=False) == []
    assert breaking(new, old, is_read=True) == ["timestamp may not be number any more"]


def test_what_may_be_missing_as_a_whole_is_looked_into_and_choices_are_compared():
    old = schemas()["Slate"]
    new = copy.deepcopy(old)
    del new["$defs"]["SampledFrom"]["properties"]["logits"]
    new["properties"]["trigger"]["enum"].append("page")
    assert sorted(breaking(old, new, is_read=False)) == ["sampled_from.logits is gone", "trigger may be 'page' now"]
    assert "trigger may not be 'page' any more" in breaking(new, old, is_read=True)


def test_what_a_reader_relies_on_breaks_also_deep_inside():
    old = schemas()["Slate"]
    new = copy.deepcopy(old)
    item = new["$defs"]["SlateItem"]
    del item["properties"]["reason"]
    item["required"].remove("score")
    new["properties"]["n_events"]["type"] = "string"
    assert sorted(breaking(old, new, is_read=False)) == [
        "items[].reason is gone",
        "items[].score is not always there any more",
        "n_events may be string now",
    ]
    assert [one for one in breaking(new, old, is_read=False) if "n_events" not in one] == []


def test_the_command_writes_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    schema(tmp_path / "contract")
    schema(tmp_path / "contract", check=True)
    assert "all that it says holds" in capsys.readouterr().out
    path = tmp_path / "contract" / "schemas" / "Event.json"
    written = json.loads(path.read_text())
    written["properties"]["colour"] = {"type": "string"}
    path.write_text(json.dumps(written))
    with pytest.raises(EddyError, match="1 of what it says does not hold"):
        schema(tmp_path / "contract", check=True)
    assert "Event: colour is gone" in capsys.readouterr().out
    del written["properties"]["colour"], written["properties"]["context"]
    path.write_text(json.dumps(written))
    schema(tmp_path / "contract", check=True)
    assert "something was added" in capsys.readouterr().out
    path.unlink()
    schema(tmp_path / "contract", check=True)
    assert "Event: is new" in capsys.readouterr().out
    path.with_name("Love.json").write_text("{}")
    with pytest.raises(EddyError, match="1 of what it says"):
        schema(tmp_path / "contract", check=True)
    assert "Love: is gone" in capsys.readouterr().out


def test_without_a_folder_the_project_s_own_contract_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    schema(check=True)
    assert "deploy/contract: all that it says holds" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    with pytest.raises(typer.BadParameter, match="name their folder"):
        schema(check=True)


def test_a_topic_that_is_gone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    schema(tmp_path)
    document = json.loads((tmp_path / "asyncapi.json").read_text())
    document["channels"]["letters"] = {}
    (tmp_path / "asyncapi.json").write_text(json.dumps(document))
    with pytest.raises(EddyError, match="1 of what it says"):
        schema(tmp_path, check=True)
    assert "the topic letters is gone" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"$ref": "#/elsewhere/X"}', "[" * 100_000])
def test_what_is_no_schema_is_no_traceback(text: str, tmp_path: Path):
    schema(tmp_path)
    (tmp_path / "schemas" / "Event.json").write_text(text)
    with pytest.raises(EddyError, match=r"Event\.json is no"):
        schema(tmp_path, check=True)


def test_a_folder_without_schemas_says_how_to_write_them(tmp_path: Path):
    with pytest.raises(EddyError, match=r"`eddy schema .*` writes them"):
        schema(tmp_path, check=True)


def test_a_folder_that_cannot_be_written_is_no_traceback(tmp_path: Path):
    (tmp_path / "contract").write_text("a file")
    with pytest.raises(EddyError, match="cannot be written"):
        schema(tmp_path / "contract")


def test_the_commands_are_there():
    help_of = CliRunner().invoke(app, ["--help"]).output
    assert "tail" in help_of
    assert load_command("schema") is not None


def a_record(message: Any, key: str = "u-1") -> Record:
    return Record(0, 7, 1_700_000_000_000, key.encode(), None if message is None else encode(message))


def test_a_person_reads_a_slate_with_reasons_draws_and_chances():
    text = told("recommendations", a_record(A_SLATE))
    assert "for the event e-1, by blend@7" in text
    assert "1. i-1" in text
    assert "trending now" in text
    assert "drawn with 0.25" in text
    assert "click 12.5% purchase 1.0%" in text
    assert "taken away" in told("recommendations", a_record(None))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_any_message_can_be_read_on_any_topic(message: Any):
    for topic in described_topics():
        assert "u-1" in told(topic.name, a_record(message))


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"\x1b[2J", b"[" * 100_000, b'{"items": 1}']
)
def test_what_is_no_message_is_shown_and_obeyed_by_no_terminal(value: bytes):
    for topic in described_topics():
        text = told(topic.name, Record(0, 1, 1_700_000_000_000, b"\x1b]0;title\x07", value))
        assert "\x1b" not in text
        assert len(text) < 1_000


@pytest.mark.parametrize("at", [-1, 1_700_000_000_000_000, 2**62])
def test_any_time_of_a_record_can_be_shown(at: int):
    assert "u-1" in told("events", a_record(MESSAGES[1])._replace(timestamp=at))


def test_markup_and_numbers_beyond_all_bounds_of_others_are_shown_as_they_are():
    console = Console(file=StringIO(), width=200)
    slate = orjson.loads(encode(A_SLATE))
    slate["items"][0] |= {"source": "x[/foo]\x1b[2J", "reason": "[red]:book:"}
    for topic, value in (
        ("recommendations", orjson.dumps(slate)),
        ("events", b'{"event_type": "click", "item_id": ":book:", "value": 1' + b"0" * 400 + b"}"),
        ("dead-letters", b'{"topic": "[/x]", "partition": 0, "offset": 1, "reason": "[b]", "detail": "[/b]"}'),
    ):
        console.print(told(topic, Record(0, 1, 1, b"[/k]", value)), highlight=False, emoji=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "x[/foo]" in text
    assert "[red]:book:" in text
    assert "\x1b" not in text
