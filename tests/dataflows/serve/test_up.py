"""`eddy up` as a newcomer meets it: one command, then the curl lines of the README."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.places import ROOT
from tests.up import Up, ask_until, running_up

pytestmark = [pytest.mark.up, pytest.mark.kafka]

CATALOG = [{"item_id": f"i-{n}", "title": f"Film {n}", "categories": ["drama"]} for n in range(6)]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture
def client(up: Up) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=up.wait_for_address(), timeout=10, trust_env=False) as client:
        yield client


def click(client: httpx.Client, user: str, *items: str) -> None:
    events = [{"user_id": user, "item_id": item, "event_type": "click"} for item in items]
    assert client.post("/events", json=events).status_code == 202


def test_the_curl_lines_of_the_readme_give_what_it_says(up: Up, client: httpx.Client) -> None:
    section = (ROOT / "README.md").read_text().split("## A slate over HTTP")[1]
    block = section.split("```sh\n")[1].split("```")[0]
    lines = block.replace("localhost:8000", up.wait_for_address().removeprefix("http://")).split("\ncurl ")[1:]
    said = []
    for line in lines:
        command = f"curl --silent --max-time 3 {line}"
        said.append(subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False).stdout)
        if "/events" in line:
            ask_until(client, "u-7", n_items=1)  # what others do takes a moment to be learned
    put, event, newest, asked, stream = said
    assert (json.loads(put), json.loads(event)["accepted"]) == ({"accepted": 2}, 3)
    assert [row["item"]["title"] for row in json.loads(newest)["items"]] == ["Ronin"]
    assert json.loads(asked)["fallback"] is None
    assert "event: slate" in stream


def test_clicks_become_a_slate_a_request_gets_its_own_and_a_stream_pushes_each(client: httpx.Client) -> None:
    assert client.put("/items", json=CATALOG).json() == {"accepted": 6}
    for n in range(4):
        click(client, f"other-{n}", "i-0", "i-1", "i-2")
    assert client.get("/users/u-1/slate").status_code == 404
    click(client, "u-1", "i-0")
    asked = ask_until(client, "u-1", n_items=2)
    assert asked["fallback"] is None
    assert "i-0" not in {row["item_id"] for row in asked["slate"]["items"]}  # which is where they are
    with client.stream("GET", "/users/u-1/stream") as stream:
        lines = stream.iter_lines()
        newest = next(line for line in lines if line.startswith("id:"))
        assert newest == f"id: {asked['slate']['recommendation_id']}"
        click(client, "u-1", "i-1")
        assert next(line for line in lines if line.startswith("id:")) != newest


@pytest.mark.parametrize(
    ("language", "command"), [("python", [sys.executable]), ("typescript", ["node", "--experimental-strip-types"])]
)
def test_the_clients_of_the_docs_run_as_they_stand_there(
    up: Up, client: httpx.Client, tmp_path: Path, language: str, command: list[str]
) -> None:
    if language == "typescript" and not _node_runs_typescript():
        pytest.skip("node is not installed, or too old to run TypeScript: 22.6 is needed")
    click(client, "u-7", "i-0")
    ask_until(client, "u-7", n_items=2)
    code = (ROOT / "dataflows" / "SERVE.md").read_text().split(f"```{language}\n")[1].split("```")[0]
    file = tmp_path / f"client.{'py' if language == 'python' else 'mts'}"
    file.write_text(code.replace("http://127.0.0.1:8000", up.wait_for_address()).replace("i-42", "i-0"))
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    shown = {line.split()[1] for line in done.stdout.splitlines()}
    assert len(shown) >= 2
    assert "i-0" not in shown  # which is where they are


def _node_runs_typescript() -> bool:
    command = ["node", "--experimental-strip-types", "--eval", "0"]
    return (
        shutil.which("node") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def test_what_is_wrong_is_said_with_its_reason(client: httpx.Client) -> None:
    answer = client.post("/events", json={"user_id": "u-7", "item_id": "i-0", "event_type": "clik"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unknown_event_type")


def test_the_page_is_told_how_far_each_flow_is_behind(client: httpx.Client) -> None:
    click(client, "u-3", "i-0")
    deadline = time.monotonic() + 60
    while (behind := client.get("/live").json()["behind"]) != {"recommend": 0, "learn": 0}:
        assert time.monotonic() < deadline, behind
        time.sleep(0.5)


def test_what_it_says_can_be_read_and_copied_where_nobody_sits_at_a_terminal(up: Up) -> None:
    address = up.wait_for_address()
    lines = up.said.splitlines()
    assert "\x1b" not in up.said
    assert {line.split(":")[0] for line in lines if ": ready after" in line} == {"learn", "recommend", "serve"}
    curl = """ -d '{"user_id": "u-7", "item_id": "i-42", "event_type": "click"}'"""
    assert f"an event:      curl {address}/events{curl}" in lines


def test_ctrl_c_ends_the_flows_the_door_and_the_broker(up: Up) -> None:
    up.wait_for_address()
    children = up.children()
    assert len(children) >= 5  # two flows, the door, the broker and its pacer
    assert up.end() == 0, up.said
    assert [child for child in children if _lives(child)] == []


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
