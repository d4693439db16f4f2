"""`eddy replay` onto a real topic."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.codecs import dead_letter, encode
from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.records import Record

pytestmark = pytest.mark.kafka


def eddy(broker: str, prefix: str, *arguments: str) -> Result:
    settings = {"EDDY_KAFKA__BOOTSTRAP_SERVERS": broker, "EDDY_TOPICS__PREFIX": prefix, "COLUMNS": "300"}
    return CliRunner().invoke(app, ["replay", *arguments], env=settings)


def held(broker: str, topic: str) -> set[tuple[bytes | None, bytes | None]]:
    return {(record.key, record.value) for record in scan({"bootstrap.servers": broker}, topic)}


def test_a_file_goes_onto_its_topic_line_by_line_under_the_topics_key(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    items = [orjson.dumps({"item_id": f"i-{number}", "title": "Lamp"}) for number in range(300)]
    file = tmp_path / "items.jsonl"
    file.write_bytes(b"\n".join([*items, b'{"key":"i-7","deleted":true}']) + b"\n")
    result = eddy(broker, prefix, str(file), "--topic", "catalog", "--rate", "5000")
    assert result.exit_code == 0, result.output
    assert "301 messages" in result.output
    expected = {(b"i-%d" % number, item) for number, item in enumerate(items)} | {(b"i-7", None)}
    assert held(broker, f"{prefix}catalog") == expected


def test_dead_letters_of_one_reason_go_back_to_where_they_came_from_and_the_letters_stay(
    broker: str, topics: Callable[..., str]
) -> None:
    prefix = topics(2)
    writer = KafkaWriter({"bootstrap.servers": broker}, f"{prefix}dead-letters")
    for number, (topic, reason) in enumerate([("events", "late"), ("requests", "late"), ("events", "malformed")]):
        letter = dead_letter(topic, Record(0, number, 1, b"u\xff", b"\xfe%d" % number), reason, "")
        writer.write(f"{topic}/0/{number}", encode(letter))
    writer.flush()
    result = eddy(broker, prefix, "--dead-letters", "--reason", "late")
    assert result.exit_code == 0, result.output
    assert held(broker, f"{prefix}events") == {(b"u\xff", b"\xfe0")}
    assert held(broker, f"{prefix}requests") == {(b"u\xff", b"\xfe1")}
    assert len(held(broker, f"{prefix}dead-letters")) == 3


def test_without_a_letter_of_that_kind_nothing_is_written(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    result = eddy(broker, prefix, "--dead-letters", "--topic", "catalog")
    assert result.exit_code == 0
    assert "no dead letter" in result.output


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((), "either a file or --dead-letters"),
        (("a.jsonl", "--dead-letters"), "either a file or --dead-letters"),
        (("a.jsonl", "--reason", "late"), "needs --dead-letters"),
        (("a.jsonl", "--rate", "1", "--speed-up", "2"), "choose one pace"),
    ],
)
def test_options_that_exclude_each_other_are_refused(arguments: tuple[str, ...], fault: str) -> None:
    result = eddy("127.0.0.1:1", "", *arguments)
    assert result.exit_code == 2
    assert fault in result.output
