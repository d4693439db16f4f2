"""Files of other forms wherever a file of events is taken."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dataflows import imports
from dataflows.cli.main import app
from dataflows.errors import EddyError
from dataflows.files.event_files import load_events, load_items
from dataflows.files.lines import FileError, read_lines, write_lines
from dataflows.files.replay import keyed_messages
from dataflows.imports.column_map import EVENT_FIELDS, Column, filled, parse_columns
from dataflows.imports.detection import detect
from dataflows.imports.foreign import event_lines
from dataflows.imports.times import iso_ms, milliseconds
from dataflows.run.settings import EventSettings

RATINGS = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n2,31,4.0,835355493\n,31,4.0,835355494\n"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


def test_events_and_items_of_another_form_are_converted_on_the_way(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    source, films = tmp_path / "ratings.csv", tmp_path / "movies.csv"
    source.write_text(RATINGS)
    films.write_text("movieId,title,genres\n31,Dangerous Minds (1995),Drama\n")
    out, catalog = tmp_path / "events.jsonl.gz", tmp_path / "catalog.jsonl"
    asked = ["import", source, "--out", out, "--catalog", films, "--catalog-out", catalog]
    CliRunner().invoke(app, [str(part) for part in asked])
    with caplog.at_level(logging.WARNING):
        assert load_events(source, EventSettings()) == load_events(out, EventSettings())
    assert "1 rows are left out" in caplog.text
    assert "no user_id" in caplog.text
    assert load_items(films, EventSettings()) == load_items(catalog, EventSettings())
    assert [item.title for item in load_items(films, EventSettings())] == ["Dangerous Minds (1995)"]


def test_a_replay_of_another_form_keys_each_event_by_its_user_in_time_order(tmp_path: Path):
    source = tmp_path / "ratings.csv"
    source.write_text(RATINGS)
    messages = list(keyed_messages(event_lines(source, EventSettings()), "user_id"))
    assert [(message.key, message.at_ms) for message in messages] == [("2", 835355493000), ("1", 1260759144000)]


def test_training_on_a_table_of_unknown_columns_ends_with_the_command_that_names_them(tmp_path: Path):
    source = tmp_path / "odd.csv"
    source.write_text("who,what,when\nu,i,1700000000\n")
    told = CliRunner().invoke(app, ["train", str(source), "--out", str(tmp_path / "r")])
    assert isinstance(told.exception, EddyError)
    assert f"eddy import {source} --map user_id=COLUMN" in str(told.exception)


def test_without_polars_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "ratings.csv"
    source.write_text(RATINGS)
    for name in [name for name in sys.modules if name == "polars" or name.startswith("dataflows.imports.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("convert", "lines"):
        monkeypatch.delattr(imports, name, raising=False)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(EddyError, match=r"eddy-recs\[import\]"):
        load_events(source, EventSettings())


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ('{"event_id": "e", "user_id": "u", "item_id": "i", "event_type": "view", "timestamp": 1}', None),
        ('{"item_id": "i", "title": "a, b"}', None),
        ("", None),
        ("userId,movieId,rating,timestamp", "movielens"),
        ("1::1193::5::978300760", "movielens"),
        ("196\t242\t3\t881250949", "movielens"),
        ("user_id:token\titem_id:token\ttimestamp:float", "recbole"),
        ("timestamp,visitorid,event,itemid,transactionid", "csv"),
        ("\t".join(["x"] * 131), "snowplow"),
    ],
)
def test_a_form_is_told_by_the_first_line(tmp_path: Path, line: str, form: str | None):
    path = tmp_path / "file.txt"
    path.write_text(line + "\n")
    assert detect(path) == form


def test_lines_of_json_that_are_broken_stay_eddys_own(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_text("not, json\n")
    assert detect(path) is None


def test_columns_of_usual_names_are_found_and_what_is_said_leads():
    columns = ["visitorid", "itemid", "event", "timestamp", "user"]
    found = filled({"user_id": Column("visitorid")}, columns, EVENT_FIELDS, "f")
    assert {name: column.name for name, column in found.items()} == {
        "user_id": "visitorid", "item_id": "itemid", "event_type": "event", "timestamp": "timestamp",
    }  # fmt: skip
    assert parse_columns(["timestamp=a:b:ms", "context.x=y:z"], EVENT_FIELDS) == {
        "timestamp": Column("a:b", "ms"), "context.x": Column("y:z"),
    }  # fmt: skip


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_is_read_to_the_millisecond_however_it_is_written(at: int):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    assert iso_ms(moment.isoformat()) == at
    assert iso_ms(moment.replace(tzinfo=None).isoformat(" ") + " UTC") == at
    numbers = {"ms": at, "us": at * 1_000, "s": at / 1_000}
    for unit, number in numbers.items():
        assert milliseconds(pl.Series([str(number), "?"]), unit).to_list() == [at, None]


def test_a_file_is_whole_or_not_there(tmp_path: Path):
    def lines() -> Iterator[bytes]:
        yield json.dumps({"a": 1}).encode()
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write_lines(lines(), tmp_path / "a.jsonl.gz")
    assert list(tmp_path.iterdir()) == []
    for name in ("a.jsonl", "a.jsonl.gz"):
        write_lines([b"1", b"2"], tmp_path / name)
        assert list(read_lines(tmp_path / name)) == [b"1", b"2"]
    with pytest.raises(FileError, match="cannot be written"):
        write_lines([b"1"], tmp_path / "nowhere" / "a.jsonl")
