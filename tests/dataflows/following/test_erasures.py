from collections import Counter

from dataflows.following.erasures import Erasures
from models.numeric.ids import hash64
from models.pseudonyms import StateKeys


def test_what_was_made_or_written_until_the_request_is_covered():
    erasures = Erasures()
    erasures.note("ann", 100)
    assert erasures.covers("ann", 100, 200)
    assert not erasures.covers("ann", 101, 200)
    assert not erasures.covers("bob", 1, 1)


def test_a_device_whose_clock_runs_ahead_brings_nobody_back():
    erasures = Erasures()
    erasures.note("ann", 100)
    assert erasures.covers("ann", at=150, written_at=90)


def test_the_newest_request_counts_in_whatever_order_they_come():
    erasures = Erasures()
    for at in (100, 300, 200):
        erasures.note("ann", at)
    assert erasures.until("ann") == 300


def test_an_erasure_holds_under_every_key_that_the_user_has_had():
    keys = StateKeys(["a", "b"])
    erasures = Erasures(keys)
    erasures.note("ann", 100)
    assert [erasures.until(key) for key in keys.every("ann")] == [100] * 3
    assert [erasures.until_hash(hash64(key)) for key in keys.every("ann")] == [100] * 3


def test_of_more_than_are_kept_those_go_who_asked_first_and_they_are_counted():
    counts: Counter[str] = Counter()
    erasures = Erasures(None, counts, limit=20)
    for at in range(1, 31):
        erasures.note(f"u-{at}", at)
    assert erasures.until("u-30") == 30
    assert erasures.until("u-1") == 0
    assert len(erasures.known) <= 20
    assert counts["erasures_dropped"] == 30 - len(erasures.known)
