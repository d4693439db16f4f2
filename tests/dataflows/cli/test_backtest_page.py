"""`eddy backtest --report`: one page that needs nothing else."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dataflows.cli.main import app

NOW = 1_700_000_000_000
VOID = {"meta", "br", "rect", "line", "polyline"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


class Reader(HTMLParser):
    """Collects a page's texts and tags, and fails on one that is closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_report_is_one_page_with_figures_intervals_curves_and_examples_by_title(tmp_path: Path):
    sessions = ["abcab", "abc", "bca", "cab"]
    lines = [
        {"event_id": f"{s}-{n}", "user_id": f"user-{s}", "item_id": item, "event_type": "click",
         "timestamp": NOW + 100_000 * s + 1_000 * n}
        for s, session in enumerate(sessions) for n, item in enumerate(session)
    ]  # fmt: skip
    titles = {"a": "Alien", "b": "<script>alert(1)</script>", "c": "Casablanca"}
    events, catalog, page, figures = (tmp_path / name for name in ("e.jsonl", "c.jsonl", "out.html", "out.json"))
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    catalog.write_text("".join(json.dumps({"item_id": k, "title": title}) + "\n" for k, title in titles.items()))
    asked = ["--protocol", "prequential", "--events", events, "--catalog", catalog, "--warmup", 0, "-k", 2, "--json",
             figures, "--report", page]  # fmt: skip
    told = CliRunner().invoke(app, ["backtest", *map(str, asked)])
    assert told.exit_code == 0, told.output

    text = page.read_text()
    read = Reader()
    read.feed(text)
    assert read.open == []
    said = json.loads(figures.read_text())
    for name, model in said["models"].items():
        assert name in read.texts
        assert f"{model['hr']:.4f}" in read.texts
    low, high = said["models"]["eddy"]["hr_95"]
    assert f"95%: {low:.4f} to {high:.4f}" in read.texts
    assert sum(tag == "polyline" for tag, _ in read.tags) == len(said["models"])
    assert sum(tag == "article" for tag, _ in read.tags) == len(sessions)
    assert {"Alien", "Casablanca", "<script>alert(1)</script>"} <= set(read.texts)
    assert not any(tag == "script" or {"src", "href"} & attributes.keys() for tag, attributes in read.tags)
    assert not re.search(r"url\(|@import", text)
    assert "user-0" not in text


def test_an_example_shows_what_came_before_the_slate_and_where_the_next_item_stands(tmp_path: Path):
    events = [
        {"event_id": f"{s}-{n}", "user_id": f"user-{s}", "item_id": item, "event_type": "click",
         "timestamp": NOW + 100_000 * s + 1_000 * n}
        for s in range(3) for n, item in enumerate("abc")
    ]  # fmt: skip
    path, page = tmp_path / "e.jsonl", tmp_path / "out.html"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    asked = [
        "--protocol",
        "prequential",
        "--events",
        path,
        "--warmup",
        0,
        "-k",
        2,
        "--learn-every",
        1,
        "--report",
        page,
    ]
    told = CliRunner().invoke(app, ["backtest", *map(str, asked)])
    assert told.exit_code == 0, told.output
    articles = re.findall(r"<article>.*?</article>", page.read_text(), re.DOTALL)
    # The first user's c came when nobody had gone on from b; the others' did.
    assert len(articles) == 3
    assert sum("not among the 2" in article for article in articles) == 1
    hits = [article for article in articles if "at place" in article]
    assert len(hits) == 2
    assert all("Before, the newest first:</span> b; a</p>" in article for article in hits)
    assert all('<li class="hit">c</li>' in article for article in hits)
