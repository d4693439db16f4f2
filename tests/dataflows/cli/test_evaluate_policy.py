"""`eddy evaluate-policy` on a folder of topics."""

import json
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.codecs import encode
from models.messages import Event, Item
from models.names import FEATURES
from models.serving.recommender import Recommender
from tests.models.builders import ALL, NOW, AnItem, a_query, a_strategy, a_table

N_SLATES = 80
ITEMS = [AnItem(f"i{k}", category="ab"[k % 2], popularity=(k + 1.0, k + 1.0)) for k in range(9)]
TRENDS = {ALL: {item.item_id: 1.0 + k for k, item in enumerate(ITEMS)}}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def topics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write what `recommend` would have written, half of it drawn as a whole, and users who always take item 0."""
    strategy = a_strategy(sampled=0.5, n_items=3, sources={"trending": 1.0}, max_per_category=2)
    queries = [
        a_query(user_id=f"u{k % 20}", trigger_id=f"e-{k}", at=NOW + 600_000 * k, strategy=strategy)
        for k in range(N_SLATES)
    ]
    slates = Recommender(a_table(ITEMS, TRENDS)).recommend(queries)
    acts = [
        Event(f"a-{k}", slate.user_id, "i0", "click", slate.created_at + 1_000)
        for k, slate in enumerate(slates)
        if any(item.item_id == "i0" for item in slate.items)
    ]
    acts.append(Event("last", "nobody", "i1", "click", NOW + 600_000 * N_SLATES + 10_000_000))
    folder = tmp_path / "topics"
    folder.mkdir()
    for name, messages in (("recommendations", slates), ("events", acts), ("catalog", [Item("i0", "First")])):
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(encode(message) for message in messages))
    monkeypatch.setenv("EDDY_TOPICS__FOLDER", str(folder))
    return folder


def eddy(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


TARGET = {"sources": {"trending": 1.0}, "exploration_slots": 0, "diversity": 0, "max_per_category": 2, "n_items": 3}


def figures(tmp_path: Path, *options: str, **strategy: Any) -> dict[str, Any]:
    out = tmp_path / "out.json"
    told = eddy("evaluate-policy", "--strategy", json.dumps(TARGET | strategy), "--json", out, *options)
    assert told.exception is None, told.output
    found: dict[str, Any] = json.loads(out.read_bytes())
    return found


@pytest.mark.usefixtures("topics")
def test_a_strategy_is_judged_by_the_slates_that_were_drawn(tmp_path: Path):
    found = figures(tmp_path)
    values = found["values"]
    assert values["served"]["slates"] + values["drawn"]["slates"] == N_SLATES
    assert values["drawn"]["value"] > values["served"]["value"] == 0
    assert values["ips"]["value"] == 0
    everywhere = figures(tmp_path, "--order", "logged", exploration_slots=3)["values"]
    low, high = everywhere["snips"]["interval"]
    assert low < values["drawn"]["value"] < high


@pytest.mark.usefixtures("topics")
def test_the_table_says_how_many_slates_an_estimate_is_worth():
    told = eddy("evaluate-policy", "--strategy", json.dumps(TARGET), "--alpha", "0.1").output
    assert "90% interval" in told
    assert "drawn as a whole" in told
    assert "by DR" in told
    assert "are worth only" in told


@pytest.mark.usefixtures("topics")
def test_acts_of_another_type_are_no_rewards_where_one_is_asked_for(tmp_path: Path):
    assert figures(tmp_path, "--event-type", "purchase")["values"]["drawn"]["value"] == 0


@pytest.mark.usefixtures("topics")
def test_a_strategy_that_cannot_be_judged_says_why(tmp_path: Path):
    beyond = eddy("evaluate-policy", "--strategy", json.dumps({"sources": {"content": 1}}))
    assert "content had no weight" in str(beyond.exception)
    assert "diversity" in str(eddy("evaluate-policy", "--strategy", '{"diversity": 7}').exception)
    assert "--strategy is no object" in str(eddy("evaluate-policy", "--strategy", "[1]").exception)
    assert "--checkpoint" in str(eddy("evaluate-policy", "--checkpoint", tmp_path / "none").exception)


def test_without_slates_it_says_how_to_get_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDDY_TOPICS__FOLDER", str(tmp_path))
    assert "EDDY_STRATEGY__SAMPLED" in str(eddy("evaluate-policy").exception)


HOSTILE: dict[str, dict[str, Any]] = {
    "as many": {"logits": [0.0]},
    "far apart": {"logits": [1e300, -1e300, *(7 * [0.0])]},
    "no hash": {"history": [2**64]},
    "no number of places": {"max_per_category": 2**64},
    "no finite feature": {"features": b64encode(np.full((9, len(FEATURES)), np.inf, "<f2").tobytes()).decode()},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_slate_whose_candidates_cannot_be_believed_is_left_out_and_told(
    topics: Path, tmp_path: Path, changes: dict[str, Any]
):
    path = topics / "recommendations.jsonl"
    slates = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    broken = next(slate for slate in slates if slate["sampled_from"])
    broken["sampled_from"] |= changes
    n_drawn = sum(slate["sampled_from"] is not None for slate in slates)
    path.write_text("\n".join(map(json.dumps, slates)))
    assert figures(tmp_path)["values"]["drawn"]["slates"] == n_drawn - 1
    assert np.isfinite(figures(tmp_path)["mean_weight"])
    assert "left out: 1 of recommendations" in eddy("evaluate-policy", "--strategy", json.dumps(TARGET)).output


def test_a_slate_with_an_item_that_cannot_have_been_drawn_is_left_out(topics: Path, tmp_path: Path):
    path = topics / "recommendations.jsonl"
    slates = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    broken = next(slate for slate in slates if slate["sampled_from"])
    broken["items"][0]["propensity"] = 0.0
    n_drawn = sum(slate["sampled_from"] is not None for slate in slates)
    path.write_bytes(b"\n".join(map(orjson.dumps, slates)))
    found = figures(tmp_path, "--assume", "cascade")
    assert found["values"]["drawn"]["slates"] == n_drawn - 1
    assert np.isfinite(found["mean_weight"])


@pytest.mark.usefixtures("topics")
def test_how_far_users_look_is_said_or_has_been_published(tmp_path: Path):
    told = eddy("evaluate-policy", "--assume", "examination")
    assert "no version of a ranker says yet how far users look" in str(told.exception)
    assert "no list of numbers" in str(
        eddy("evaluate-policy", "--assume", "examination", "--examination", "x").exception
    )
    given = figures(tmp_path, "--assume", "examination", "--examination", "1,0.5,0.25")
    assert given["assumption"] == "examination"
    by_place = figures(tmp_path)["values"]["ips"]["effective"]
    assert given["values"]["ips"]["effective"] > by_place
