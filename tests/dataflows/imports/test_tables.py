"""MovieLens, RecBole, CSV and Parquet through `eddy import`."""

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app

RATINGS = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n2,31,4.0,835355493\n1,1029,3.0,1260759179\n"
FILMS = (
    "movieId,title,genres\n"
    '31,"Dangerous Minds (1995)",Drama\n'
    '1029,"Dumbo (1941)",Animation|Children|Drama|Musical\n'
    "9,Untitled,(no genres listed)\n"
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


def eddy_import(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)], env={"COLUMNS": "250"})


def a_file(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(gzip.compress(text.encode(encoding)) if path.suffix == ".gz" else text.encode(encoding))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def imported(tmp_path: Path, source: Path, *options: Any) -> list[dict[str, Any]]:
    out = tmp_path / "events.jsonl"
    told = eddy_import(source, "--out", out, *options)
    assert told.exit_code == 0, told.output
    return rows(out)


def without_ids(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in event.items() if name != "event_id"} for event in events]


def a_rating(user: str, item: str, value: float, at_s: int) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "event_type": "rating", "timestamp": at_s * 1_000, "value": value}


def test_movielens_becomes_ratings_in_time_order_and_a_catalog_with_genres_and_decades(tmp_path: Path):
    source = a_file(tmp_path / "ratings.csv", RATINGS)
    films = a_file(tmp_path / "movies.csv", FILMS)
    out, catalog = tmp_path / "events.jsonl.gz", tmp_path / "catalog.jsonl.gz"
    told = eddy_import(source, "--catalog", films, "--out", out, "--catalog-out", catalog)
    assert told.exit_code == 0, told.output
    assert without_ids(rows(out)) == [
        a_rating("2", "31", 4.0, 835355493),
        a_rating("1", "31", 2.5, 1260759144),
        a_rating("1", "1029", 3.0, 1260759179),
    ]
    assert rows(catalog) == [
        {"item_id": "31", "title": "Dangerous Minds (1995)", "categories": ["Drama"], "tags": ["1990s"]},
        {"item_id": "1029", "title": "Dumbo (1941)", "categories": ["Animation", "Children", "Drama", "Musical"],
         "tags": ["1940s"]},
        {"item_id": "9", "title": "Untitled"},
    ]  # fmt: skip
    assert "3 events of 2 users and 2 items, 1996-06-21 to 2009-12-14" in told.output
    assert "3 items in" in told.output


@pytest.mark.parametrize(
    ("name", "line"), [("ratings.dat", "{0}::{1}::{2:g}::{3}\n"), ("u.data", "{0}\t{1}\t{2:g}\t{3}\n")]
)
def test_older_forms_of_movielens_give_the_same_events(tmp_path: Path, name: str, line: str):
    expected = imported(tmp_path, a_file(tmp_path / "ratings.csv", RATINGS))
    parts = [row.split(",") for row in RATINGS.splitlines()[1:]]
    older = "".join(line.format(user, item, float(value), at) for user, item, value, at in parts)
    assert imported(tmp_path, a_file(tmp_path / name, older)) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("movies.dat", "1::Misérables, Les (1995)::Drama|Musical\n"),
        ("u.item", "1|Misérables, Les (1995)|01-Jan-1995||http://imdb|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n"),
    ],
)
def test_older_catalogs_of_movielens_are_in_latin_1(tmp_path: Path, name: str, text: str):
    out = tmp_path / "catalog.jsonl"
    told = eddy_import("--catalog", a_file(tmp_path / name, text, "latin-1"), "--catalog-out", out)
    assert told.exit_code == 0, told.output
    assert rows(out) == [
        {"item_id": "1", "title": "Misérables, Les (1995)", "categories": ["Drama", "Musical"], "tags": ["1990s"]}
    ]


def test_films_that_are_given_as_events_are_sent_to_the_catalog(tmp_path: Path):
    told = eddy_import(a_file(tmp_path / "movies.csv", FILMS), "--out", tmp_path / "events.jsonl")
    assert "name it by --catalog" in str(told.exception)


def test_recbole_files_are_read_by_their_typed_headers(tmp_path: Path):
    source = a_file(
        tmp_path / "shop.inter",
        "user_id:token\titem_id:token\ttimestamp:float\tsession_id:token\n7\ta\t1500000000.0\ts1\n7\tb\t1500000001.5\ts1\n",
    )
    items = a_file(
        tmp_path / "shop.item",
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\tprice:float\na\tRed shoe\tShoe Red\t9.5\n",
    )
    catalog = tmp_path / "catalog.jsonl"
    events = imported(tmp_path, source, "--catalog", items, "--catalog-out", catalog)
    assert without_ids(events) == [
        {"user_id": "7", "item_id": "a", "event_type": "click", "timestamp": 1500000000000, "session_id": "s1"},
        {"user_id": "7", "item_id": "b", "event_type": "click", "timestamp": 1500000001500, "session_id": "s1"},
    ]
    assert rows(catalog) == [{"item_id": "a", "title": "Red shoe", "categories": ["Shoe", "Red"], "price": 9.5}]


SHOP = (
    "visitor;action;ts;sku;phone;paid\n"
    "v1;seen;2024-05-01T10:00:00Z;A;iphone;\n"
    "v1;bought;2024-05-01 12:00:01+02:00;A;;19.90\n"
    ";seen;2024-05-01T10:00:02Z;A;;\n"
    "v2;seen;yesterday;A;;\n"
    "v2;returned;2024-05-01T10:00:03Z;B;;\n"
)
MAPPED = (
    "--map", "user_id=visitor", "--map", "event_type=action", "--map", "timestamp=ts:iso", "--map", "value=paid",
    "--map", "context.device=phone", "--rename", "seen=view", "--rename", "bought=purchase",
)  # fmt: skip


def test_a_mapped_table_is_read_and_what_is_left_out_is_counted_with_reasons_and_places(tmp_path: Path):
    out = tmp_path / "events.jsonl"
    told = eddy_import(a_file(tmp_path / "shop.csv", SHOP), "--out", out, *MAPPED)
    assert told.exit_code == 0, told.output
    at = int(datetime(2024, 5, 1, 10, tzinfo=UTC).timestamp() * 1_000)
    assert without_ids(rows(out)) == [
        {"user_id": "v1", "item_id": "A", "event_type": "view", "timestamp": at, "context": {"device": "iphone"}},
        {"user_id": "v1", "item_id": "A", "event_type": "purchase", "timestamp": at + 1_000, "value": 19.9},
    ]
    assert "3 rows are left out" in told.output
    left_out = [line for line in told.output.splitlines() if "shop.csv, line" in line]
    assert [part for line in left_out for part in ("no user_id", "no time", "--rename returned=") if part in line] == [
        "no user_id", "no time", "--rename returned=",
    ]  # fmt: skip
    assert [line.split("line ")[-1].split()[0] for line in left_out] == ["4", "5", "6"]
    assert "item_id from sku" in told.output


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)])
def test_the_unit_of_times_is_told_by_their_size(tmp_path: Path, unit: str, factor: int):
    table = f"user,item,time\nu,i,{1_700_000_000 * factor}\n"
    [guessed] = imported(tmp_path, a_file(tmp_path / "t.csv", table))
    [said] = imported(tmp_path, a_file(tmp_path / "t.csv", table), "--map", f"timestamp=time:{unit}")
    assert guessed == said
    assert guessed["timestamp"] == 1_700_000_000_000


def test_a_parquet_file_gives_the_events_of_the_same_csv(tmp_path: Path):
    moments = [datetime(2024, 5, 1, 10, 0, second, tzinfo=UTC) for second in (0, 1, 2)]
    frame = pl.DataFrame({"user_id": [1.0, 2.0, None], "item_id": [10, 11, 12], "timestamp": moments})
    frame.write_parquet(tmp_path / "t.parquet")
    text = "user_id,item_id,timestamp\n" + "".join(
        f"{n},{item},{moment.isoformat()}\n" for n, item, moment in zip((1, 2, ""), (10, 11, 12), moments, strict=True)
    )
    events = imported(tmp_path, tmp_path / "t.parquet")
    assert [event["user_id"] for event in events] == ["1", "2"]
    assert events == imported(tmp_path, a_file(tmp_path / "t.csv", text))


def test_items_of_a_table_are_mapped_and_a_later_row_of_an_item_adds_to_it(tmp_path: Path):
    table = a_file(tmp_path / "items.csv", "sku,name,path,colour,price\nA,Shoe,Men/Shoes,red,\nA,,,,12.5\n,Lost,,,\n")
    out = tmp_path / "catalog.jsonl"
    asked = ("--map-item", "categories=path:/", "--map-item", "attributes.colour=colour")
    told = eddy_import("--catalog", table, "--catalog-out", out, *asked)
    assert told.exit_code == 0, told.output
    assert rows(out) == [
        {
            "item_id": "A",
            "title": "Shoe",
            "categories": ["Men", "Shoes"],
            "price": 12.5,
            "attributes": {"colour": "red"},
        }
    ]
    assert "no item_id" in told.output


def test_columns_of_a_place_become_an_item_s_location_and_half_of_one_is_left_out_and_told(tmp_path: Path):
    table = a_file(tmp_path / "items.csv", "sku,lat,lng,far\nA,52.5,13.25,3\nB,,,\nC,95,13,\nD,52.5,,\n")
    out = tmp_path / "catalog.jsonl"
    told = eddy_import("--catalog", table, "--catalog-out", out, "--map-item", "reach_km=far")
    assert told.exit_code == 0, told.output
    assert rows(out) == [
        {"item_id": "A", "location": {"latitude": 52.5, "longitude": 13.25, "reach_km": 3.0}},
        {"item_id": "B"},
    ]
    assert "longitude" in told.output
    assert "latitude" in told.output


def test_the_same_files_give_the_same_bytes_and_rows_that_are_alike_stay_apart(tmp_path: Path):
    source = a_file(tmp_path / "t.csv.gz", "user,item,time\nu,i,1700000000\nu,i,1700000000\n")
    first, second = tmp_path / "first.jsonl.gz", tmp_path / "second.jsonl.gz"
    for out in (first, second):
        eddy_import(source, "--out", out)
    assert first.read_bytes() == second.read_bytes()
    assert len({event["event_id"] for event in rows(first)}) == 2


def test_a_table_whose_columns_are_not_known_says_which_command_names_them(tmp_path: Path):
    source = a_file(tmp_path / "odd.csv", "who,what,when\nu,i,1700000000\n")
    refused = str(eddy_import(source, "--out", tmp_path / "events.jsonl").exception)
    assert f"eddy import {source} --map user_id=COLUMN --map item_id=COLUMN --map timestamp=COLUMN" in refused
    assert "there are who, what, when" in refused
    said = ("--map", "user_id=who", "--map", "item_id=what", "--map", "timestamp=when")
    assert [event["user_id"] for event in imported(tmp_path, source, *said)] == ["u"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--map", "user_id"), "FIELD=COLUMN"),
        (("--map", "colour=c"), "FIELD is one of"),
        (("--map", "user_id=nobody"), "has no column 'nobody'"),
        (("--map", "timestamp=time:days"), "'days' is no unit"),
        (("--rename", "seen"), "THEIRS=OURS"),
        (("--format", "snowplow"), "holds an event that can be used"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_the_remedy(tmp_path: Path, options: tuple[str, ...], fault: str):
    source = a_file(tmp_path / "t.csv", "user,item,time\nu,i,1700000000\n")
    refused = eddy_import(source, "--out", tmp_path / "events.jsonl", *options)
    assert refused.exit_code != 0
    assert fault in f"{refused.exception}{refused.output}"


@pytest.mark.parametrize(("rows", "why"), [("", "they have no rows"), ("u,i,17e99\n", "the reasons are above")])
def test_an_import_of_nothing_leaves_the_file_that_was_there(tmp_path: Path, rows: str, why: str):
    out = a_file(tmp_path / "events.jsonl", "what was imported before\n")
    refused = eddy_import(a_file(tmp_path / "t.csv", f"user,item,time\n{rows}"), "--out", out)
    assert f"{why}. {out} is as it was" in str(refused.exception)
    assert out.read_text() == "what was imported before\n"
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
