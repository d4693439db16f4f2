"""One entry is one line of JSON, whatever it holds."""

import logging
import subprocess
import sys

import orjson
import pytest

from dataflows.run.logs import JsonLines, announce
from tests import places


def line_of(message: str, *given: object, error: Exception | None = None) -> str:
    info = None if error is None else (type(error), error, error.__traceback__)
    return JsonLines().format(logging.LogRecord("dataflows.x", logging.WARNING, "f.py", 1, message, given, info))


def test_an_entry_says_when_how_grave_who_and_what():
    entry = orjson.loads(line_of("%s of %d", "two\nlines", 7))
    assert entry.pop("at").endswith("+00:00")
    assert entry == {"level": "warning", "logger": "dataflows.x", "message": "two\nlines of 7"}


def test_an_error_comes_with_its_traceback_on_the_same_line():
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int("no\nnumber")
    line = line_of("failed", error=raised.value)
    assert "\n" not in line
    assert "ValueError: invalid literal" in orjson.loads(line)["error"]


@pytest.mark.parametrize("text", ["\ud800", "\x00", "é\u2028", '"'])
def test_text_that_is_hardly_text_is_written_all_the_same(text: str):
    line = line_of(text)
    assert orjson.loads(line)["message"]
    assert len(line.splitlines()) == 1 or "\u2028" in text


def test_what_is_announced_is_plain_in_a_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        announce("[bold]recommend[/bold] runs on kafka:9092", "json")
    assert [record.getMessage() for record in caplog.records] == ["recommend runs on kafka:9092"]


def test_a_command_that_ends_over_a_mistake_says_so_in_a_line(tmp_path: object):
    env = {
        "EDDY_LOG_FORMAT": "json", "EDDY_HTTP__ENABLED": "false", "PATH": "",
        "EDDY_TOPICS__FOLDER": str(tmp_path), "EDDY_CHECKPOINT": "/nowhere",
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "dataflows", "run", "recommend"],
        cwd=places.ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    entries = [orjson.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == 1
    assert "EDDY_CHECKPOINT" in entries[-1]["message"]
    assert entries[-1]["level"] == "critical"
