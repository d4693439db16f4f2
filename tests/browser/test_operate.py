"""What an operator sees on the live page, over a door that no flow stands behind."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import uvicorn
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from dataflows.codecs import encode
from dataflows.demo.broker_process import free_port
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.serve.app import make_app
from dataflows.serve.door import Door
from dataflows.serve.read_models.sqlite import SqliteModel
from models.messages import ExperimentResult, MetricResult, ResultPoint, VariantResult
from tests.browser.chromium import chromium, missing
from tests.dataflows.serve.test_api import Platform
from tests.dataflows.serve.test_operations import publish

pytestmark = [pytest.mark.up, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

WAIT_S = 60


def a_result() -> ExperimentResult:
    """An experiment whose band has narrowed around a lift of a fifth."""
    users = range(100, 2_001, 100)
    history = [ResultPoint(n, n, {"new": (0.2 - 20 / n, 0.2 + 20 / n)}) for n in users]
    arms = [
        VariantResult("old", 1_000, 50, 0.5, [MetricResult("hit_rate", 0.1, 0.01)]),
        VariantResult(
            "new", 1_000, 60, 0.5, [MetricResult("hit_rate", 0.12, 0.01, lift=(0.19, 0.21), verdict="winner")]
        ),
    ]
    return ExperimentResult(
        "shelf", "digest", "hit_rate", "slate", 2_000, 0.05, 0.01, 0.5, "winner", None, arms, history
    )


@contextmanager
def served(folder: Path, platform: Platform) -> Iterator[tuple[str, Door]]:
    """Serve a door on a thread of its own; gives its address."""
    port, ready, doors = free_port(), threading.Event(), list[Door]()
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        door = Door(Settings(), SqliteModel(folder / "newest.sqlite3"), asyncio.get_running_loop(), platform)
        servers.append(uvicorn.Server(uvicorn.Config(make_app(door), port=port, log_level="error")))
        doors.append(door)
        ready.set()
        await servers[0].serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        yield f"http://127.0.0.1:{port}", doors[0]
    finally:
        servers[0].should_exit = servers[0].force_exit = True
        thread.join()


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def page(tmp_path: Path, platform: Platform) -> Iterator[WebDriver]:
    with served(tmp_path, platform) as (address, door), chromium() as browser:
        publish(door, 1, 2)
        door.pulse.note_result(Record(0, 0, 0, b"shelf", encode(a_result())))
        door.pulse.note_letters([Record(0, 0, 0, b"k", orjson.dumps({"reason": "unknown_event_type"}))] * 3)
        door.lags.by_flow = {"recommend": 0, "learn": 7}
        browser.get(address)
        WebDriverWait(browser, WAIT_S).until(lambda _: text_of(browser, "flows"))
        yield browser


def text_of(browser: WebDriver, name: str) -> str:
    return browser.find_element(By.ID, name).text


def test_lag_and_dead_letters_are_told_by_flow_and_by_reason(page: WebDriver) -> None:
    assert text_of(page, "flows").splitlines()[:4] == ["recommend", "up to date", "learn", "7 events to commit"]
    assert text_of(page, "letters").splitlines() == ["unknown event type", "3"]


def test_an_experiment_shows_its_verdict_its_traffic_and_the_band_of_its_lift(page: WebDriver) -> None:
    shown = text_of(page, "experiments")
    for words in ("shelf", "winner", "50.0%", "+19% to +21%", "95.0% sure at any look"):
        assert words in shown
    ink = page.execute_script(
        "const canvas = document.querySelector('#experiments canvas');"
        "return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(part => part > 0)"
    )
    assert ink


def test_a_rollback_asks_once_more_and_says_which_version_serves(page: WebDriver, platform: Platform) -> None:
    assert "linear-2" in text_of(page, "rankers")
    button = page.find_element(By.CSS_SELECTOR, "#rankers button")
    button.click()
    assert platform.written == []
    button.click()
    WebDriverWait(page, WAIT_S).until(lambda _: "linear-1 serves in a moment" in text_of(page, "rankers"))
    assert platform.written[-1] == ("model-updates", "ranker/linear/pin", {"version": "linear-1", "slot": 1})
