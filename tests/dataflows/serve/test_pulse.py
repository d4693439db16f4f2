"""What the page shows of the stream stays small, whoever writes what into it."""

import threading

import orjson
import pytest

from dataflows.codecs import encode
from dataflows.kafka import lag
from dataflows.kafka.lag import Lags
from dataflows.records import Record
from dataflows.serve.pulse import MAX_NAMES, UNREADABLE, WINDOW_S, Pulse
from dataflows.serve.watched import MAX_PLACES, Receipts
from models.messages import ErasureReceipt


def a_record(**fields: object) -> Record:
    return Record(0, 0, 1_000, b"u", orjson.dumps(fields))


def test_reasons_beyond_those_that_are_told_apart_are_counted_together() -> None:
    pulse = Pulse()
    pulse.note_letters([a_record(reason=f"invented-{n}") for n in range(2 * MAX_NAMES)])
    letters = pulse.read(0.0)["letters"]
    assert len(letters) <= MAX_NAMES + 1
    assert sum(letters.values()) == 2 * MAX_NAMES
    pulse.note_letters([a_record(reason="invented-0"), a_record(reason="x" * 10_000)])
    letters = pulse.read(0.0)["letters"]
    assert (letters["invented-0"], letters[UNREADABLE]) == (2, MAX_NAMES + 1)


def test_an_event_with_an_id_of_any_length_is_counted_and_not_kept() -> None:
    pulse = Pulse()
    event = {"user_id": "u", "item_id": "i", "event_type": "click", "timestamp": 1}
    pulse.note_events([a_record(event_id="e" * 100_000, **event), a_record(event_id="e", **event)], 100.5)
    shown = pulse.read(101.5)
    assert (shown["n_events"], [newest["event_id"] for newest in shown["newest"]]) == (2, ["e"])


def test_seconds_that_are_not_shown_any_more_are_forgotten_where_nobody_looks_at_the_page() -> None:
    pulse = Pulse()
    for second in range(10 * WINDOW_S):
        pulse.note_events([], float(second))
    assert len(pulse._events) <= WINDOW_S + 2


def test_receipts_of_invented_places_are_not_kept() -> None:
    receipts = Receipts()
    for n in range(2 * MAX_PLACES):
        receipt = ErasureReceipt("u", "e", 1, f"place-{n}", "acts", before=3, after=0, erased_at=2)
        receipts.take([Record(0, 0, 0, b"u", encode(receipt))])
    assert len(receipts.of("e")) == MAX_PLACES


def test_a_look_at_the_lag_that_fails_makes_it_unknown_and_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    again = threading.Event()
    looks = iter([RuntimeError("a fault that nobody thought of")])

    def open_one(*_arguments: object) -> None:
        for fault in looks:
            raise fault
        again.set()
        raise RuntimeError("once more")

    monkeypatch.setattr(lag, "GroupLag", open_one)
    monkeypatch.setattr(lag, "LOOK_EVERY_S", 0.01)
    lags = Lags({}, ["recommend"], "")
    lags.by_flow = {"recommend": 5}
    lags.start()
    assert again.wait(60)
    lags.close()
    assert lags.by_flow == {"recommend": None}
