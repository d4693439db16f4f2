"""The live page as a person uses it, in a real browser over `eddy up`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.chromium import chromium, missing
from tests.up import ask_until, running_up

pytestmark = [pytest.mark.up, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
CATALOG = [
    {"item_id": f"i-{n}", "title": f"Film number {n}", "categories": ["genre-" + "abc"[n % 3]]} for n in range(12)
]
WAIT_S = 120
"""A first erasure compiles kernels."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page of an installation is that has learned from a few people."""
    with running_up(tmp_path_factory.mktemp("up")) as up:
        found = up.wait_for_address()
        with httpx.Client(base_url=found, timeout=10, trust_env=False) as client:
            client.put("/items", json=CATALOG).raise_for_status()
            for first in range(8):
                visit = [
                    {"user_id": f"other-{first}", "item_id": f"i-{(first + step) % 12}", "event_type": "click"}
                    for step in range(5)
                ]
                client.post("/events", json=visit).raise_for_status()
            client.post("/events", json={"user_id": "first", "item_id": "i-2", "event_type": "click"})
            ask_until(client, "first", n_items=3)
        yield found


@pytest.fixture(params=[(1440, 1000, False), (390, 844, True)], ids=["desk", "phone, dark"])
def page(address: str, request: pytest.FixtureRequest) -> Iterator[WebDriver]:
    width, height, dark = request.param
    with chromium(width, height, dark=dark) as browser:
        browser.get(f"{address}/#me-{width}")
        WebDriverWait(browser, WAIT_S).until(lambda _: titles(browser, "#found"))
        yield browser


def titles(browser: WebDriver, place: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0] + ' button.title')].map(each => each.textContent)"
    found: list[str] = browser.execute_script(script, place)
    return found


def text_of(browser: WebDriver, name: str) -> str:
    return browser.find_element(By.ID, name).text


def open_film(browser: WebDriver, title: str) -> list[str]:
    """Search a film, open it, and return the slate that comes of it."""
    before = browser.find_element(By.ID, "said").text, titles(browser, "#slate")
    query = browser.find_element(By.ID, "query")
    query.clear()
    query.send_keys(title)
    wait = WebDriverWait(browser, WAIT_S)
    wait.until(lambda _: titles(browser, "#found") == [title])
    browser.find_element(By.CSS_SELECTOR, "#found button.title").click()
    wait.until(lambda _: text_of(browser, "took") and titles(browser, "#slate") != before[1])
    return titles(browser, "#slate")


def test_what_a_person_opens_becomes_a_slate_and_the_next_act_another(page: WebDriver) -> None:
    first = open_film(page, "Film number 2")
    assert first
    assert "Film number 2" not in first
    assert text_of(page, "took").endswith(" ms")
    assert all(chip.text for chip in page.find_elements(By.CSS_SELECTOR, "#slate .chip"))
    second = open_film(page, "Film number 7")
    assert second != first
    assert "Film number 7" in text_of(page, "acts")


def test_an_act_that_nobody_answers_is_said_to_be_without_a_slate(page: WebDriver) -> None:
    page.execute_script("window.fetch = async () => new Response('{}')")
    page.find_element(By.CSS_SELECTOR, "#found button.title").click()
    WebDriverWait(page, WAIT_S).until(lambda _: "no slate came" in text_of(page, "said"))


def test_a_rating_is_an_act_and_shows_what_the_person_likes(page: WebDriver) -> None:
    open_film(page, "Film number 3")
    page.find_element(By.CSS_SELECTOR, "#slate .stars button:nth-child(5)").click()
    WebDriverWait(page, WAIT_S).until(lambda _: "5 ★" in text_of(page, "acts"))
    assert "genre-" in text_of(page, "interests")


def test_everything_can_be_done_from_the_keyboard(page: WebDriver) -> None:
    query = page.find_element(By.ID, "query")
    query.send_keys("Film number 4")
    WebDriverWait(page, WAIT_S).until(lambda _: titles(page, "#found") == ["Film number 4"])
    query.send_keys(Keys.TAB)  # the list, which scrolls
    page.switch_to.active_element.send_keys(Keys.TAB)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    WebDriverWait(page, WAIT_S).until(lambda _: titles(page, "#slate"))
    assert "Film number 4" in text_of(page, "acts")


def test_a_person_of_the_stream_is_pinned_and_one_comes_back_to_oneself(page: WebDriver) -> None:
    mine = text_of(page, "whose")
    WebDriverWait(page, WAIT_S).until(lambda _: page.find_elements(By.CSS_SELECTOR, "#happening button"))
    pinned = page.execute_script(
        "const found = document.querySelector('#happening button'); found.click(); return found.textContent"
    )
    WebDriverWait(page, WAIT_S).until(lambda _: titles(page, "#slate"))
    assert (text_of(page, "whose"), text_of(page, "pinned")) == (pinned, "pinned")
    page.find_element(By.ID, "new-user").click()
    assert text_of(page, "whose") == mine


def test_forgetting_a_person_asks_once_more_and_shows_the_receipts(page: WebDriver) -> None:
    open_film(page, "Film number 5")
    button = page.find_element(By.CSS_SELECTOR, "#forget button")
    page.execute_script("arguments[0].click()", button)
    assert button.text.startswith("sure?")
    page.execute_script("arguments[0].click()", button)
    WebDriverWait(page, WAIT_S).until(lambda _: "every flow has signed off" in text_of(page, "receipts"))
    assert "recommend.profile" in text_of(page, "receipts")
    WebDriverWait(page, WAIT_S).until(lambda _: titles(page, "#slate") == [])


def test_a_screen_reader_finds_nothing_serious_in_its_way(page: WebDriver) -> None:
    open_film(page, "Film number 6")
    page.execute_script(AXE.read_text())
    result: dict[str, Any] = page.execute_async_script("axe.run().then(arguments[0])")
    faults = [
        (fault["id"], fault["impact"], [node["html"][:200] for node in fault["nodes"]])
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert faults == []
    assert len(result["passes"]) > 20  # it has looked


def test_nothing_goes_wrong_unseen_and_nothing_is_wider_than_the_screen(page: WebDriver) -> None:
    open_film(page, "Film number 8")
    log: list[dict[str, Any]] = page.get_log("browser")  # type: ignore[no-untyped-call]
    assert [entry for entry in log if entry["level"] == "SEVERE"] == []
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
