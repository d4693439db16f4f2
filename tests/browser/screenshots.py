"""Takes the pictures of the live page for README and docs: `python -m tests.browser.screenshots FOLDER`.

It runs `eddy up` with the demo's films and experiment, lets people act on it, and is a person there itself.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import httpx
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from dataflows.demo.world import load_world
from tests.browser.chromium import chromium, missing
from tests.browser.crowd import acting, settle
from tests.places import ROOT
from tests.up import ask_until, running_up

N_HISTORY, N_STREAM, RATE = 4_000, 20_000, 20.0
BEFORE_S = 60
"""How long people act before the first picture."""
WAIT_S = 60
SETTINGS = {
    "EDDY_EXPERIMENTS_FILE": str(ROOT / "dataflows" / "demo" / "experiments.yaml"),
    "EDDY_LEARN__MIN_USERS": "2",
    "EDDY_EVALUATE__PUBLISH_EVERY_S": "1",
}


SCROLL = """
const top = document.querySelector(arguments[0]).getBoundingClientRect().top;
scrollBy(0, top - document.querySelector("header").offsetHeight - 12);
"""


class Picture(NamedTuple):
    """One picture of the page."""

    name: str
    width: int
    height: int
    dark: bool
    user: str
    """Whom one is: names whom the demo's experiment gives slates of all sources."""
    section: str = "header"
    """What stands at its top."""


PICTURES = (
    Picture("page", 1440, 900, dark=False, user="alan"),
    Picture("page-dark", 1440, 900, dark=True, user="niklaus"),
    Picture("page-operate", 1440, 900, dark=False, user="tony", section=".experiments"),
    Picture("page-phone", 390, 844, dark=True, user="tom", section=".wanted"),
)


def main(folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    world = load_world(N_STREAM, RATE)
    with tempfile.TemporaryDirectory(prefix="eddy-pictures-") as place, running_up(Path(place), **SETTINGS) as up:
        address = up.wait_for_address()
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            settle(client, world, N_HISTORY)
            ask_until(client, "somebody", n_items=5)
            with acting(client, world, RATE):
                time.sleep(BEFORE_S)
                for picture in PICTURES:
                    take(picture, address, folder)


def take(picture: Picture, address: str, folder: Path) -> None:
    """Be somebody new who opens two films and rates a third, and take the picture."""
    with chromium(picture.width, picture.height, dark=picture.dark) as browser:
        browser.get(f"{address}/#{picture.user}")
        find(browser, "star wars")
        for film in (1, 2):
            act(browser, f"#found li:nth-child({film}) button.title")
        act(browser, "#slate li:nth-child(3) .stars button:nth-child(5)")
        time.sleep(3)  # places have been taken, charts been drawn
        browser.execute_script(SCROLL, picture.section)
        time.sleep(1)
        file = folder / f"{picture.name}.png"
        browser.save_screenshot(str(file))
        sys.stderr.write(f"{file}: {file.stat().st_size / 1_000:.0f} kB\n")


def find(browser: WebDriver, words: str) -> None:
    """Search the catalog."""
    browser.find_element(By.ID, "query").send_keys(words)
    WebDriverWait(browser, WAIT_S).until(lambda _: words in browser.find_element(By.ID, "found").text.lower())
    time.sleep(1)


def act(browser: WebDriver, button: str) -> None:
    """Press a button, and wait for the slate that comes of it."""
    before = browser.find_element(By.ID, "slate").text
    browser.execute_script("document.querySelector(arguments[0]).click()", button)
    WebDriverWait(browser, WAIT_S).until(lambda _: browser.find_element(By.ID, "slate").text != before)
    time.sleep(1)


if __name__ == "__main__":
    if absent := missing():
        sys.exit(absent)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "deploy" / "pictures")
