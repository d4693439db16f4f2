from io import StringIO

from rich.console import Console

from dataflows.demo.judge import Judge, ReceivedSlate, SlateRow
from dataflows.demo.screen import live_view
from models.messages import Event

TITLES = {"m1": "Aladdin", "m2": "Stargate", "m3": "Fugitive"}


def a_rating(number: int, film: str) -> Event:
    return Event(f"e-{number}", "u", film, "rating", 1_000 * number, value=4.0)


def a_slate(trigger_id: str, *films: str) -> ReceivedSlate:
    return ReceivedSlate("u", trigger_id, "v", 0, 1, [SlateRow(film, "trending now", "trending") for film in films])


def drawn(slate: ReceivedSlate, *recent: Event) -> str:
    judge = Judge(10)
    judge.receive(slate, 0.0)
    console = Console(file=StringIO(), width=120, record=True)
    console.print(live_view(judge, 10, 1.0, TITLES, list(recent), "notice"))
    return console.export_text()


def test_a_slate_stands_beside_the_event_that_made_it():
    screen = drawn(a_slate("e-2", "m3"), a_rating(2, "m2"), a_rating(1, "m1"))
    assert "and gets (v)" in screen
    assert "1. Fugitive trending now" in screen
    assert "✓" not in screen


def test_an_event_that_a_slate_predicted_is_marked_with_its_position():
    screen = drawn(a_slate("e-1", "m2", "m3"), a_rating(2, "m3"), a_rating(1, "m1"))
    assert "and had got before (v)" in screen
    [line] = [line for line in screen.splitlines() if "✓" in line]
    assert "Fugitive" in line
    assert "✓ 2." in line


def test_a_learned_slate_says_why_it_may_be_believed():
    slate = a_slate("e-2", "m3")
    slate.model_version = "movielens-1a2b@7"
    judge = Judge(10)
    judge.receive(slate, 0.0)
    for version, shown in (("movielens-1a2b", True), ("movielens-ffff", False)):
        console = Console(file=StringIO(), width=160, record=True)
        believed = {version: "learned: 15.0% of the next films in its first ten"}
        console.print(live_view(judge, 10, 1.0, TITLES, [a_rating(2, "m2")], "notice", believed))
        assert ("15.0% of the next films" in console.export_text()) is shown
