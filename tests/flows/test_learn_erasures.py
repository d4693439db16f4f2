"""What an erased user leaves in `learn`: tables as if there had been nobody."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import pytest
from bytewax.testing import TestingSource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows.records import Record
from dataflows.run.settings import LearnSettings, Settings
from models.numeric.ids import hash64
from tests.flows.erasing import an_erasure, states_of
from tests.flows.learning import NOW, SECOND, Run, an_event

STOP: Any = TestingSource.EOF()
DAY = 86_400 * SECOND
SETTINGS = Settings(learn=LearnSettings(shards=2, min_users=1))
LATER = NOW + 30 * DAY


def rows_without(user: str, events: list[Record]) -> dict[str, bytes | None]:
    others = [event for event in events if orjson.loads(event.value or b"")["user_id"] != user]
    return Run(others, settings=SETTINGS).run().rows


def read(value: bytes) -> tuple[dict[tuple[str, int], tuple[float, float]], tuple[float, ...]]:
    """Read a row's neighbours and habits, and its popularity, decayed to one moment: it refers to its newest event."""
    words = np.frombuffer(value, np.int64)
    age = (LATER - int(words[4])) / SETTINGS.learn.half_life_long_ms
    short, long = np.frombuffer(value, np.float32, 2, 48)
    found: dict[tuple[str, int], tuple[float, float]] = {}
    start = 8
    for kind, n in (("neighbour", int(words[0]) >> 16), ("habit", int(words[7]))):
        pairs = np.frombuffer(value, np.uint32)[2 * (start + n) : 2 * (start + n) + n]
        rules = (pairs & np.uint32(0xFFFF0000)).view(np.float32) * 2.0**-age
        covisits = (pairs << np.uint32(16)).view(np.float32) * 2.0**-age
        for item, rule, covisit in zip(words[start : start + n].tolist(), rules, covisits, strict=True):
            found[kind, item] = float(rule), float(covisit)
        start += n + (n + 1) // 2
    return found, (short * 2.0 ** (-(LATER - int(words[4])) / DAY), long * 2.0**-age)


def assert_same_tables(found: Mapping[str, bytes | None], wanted: Mapping[str, bytes | None]) -> None:
    """Compare what a consumer ends with; bfloat16 has three digits."""
    kept = {key: value for key, value in found.items() if value is not None}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    assert kept.keys() == wanted.keys()
    for key, value in wanted.items():
        if key.startswith("neighbours/"):
            (neighbours, popularity), (others, expected) = read(kept[key]), read(value)
            assert neighbours.keys() == others.keys(), key
            for item, pair in neighbours.items():
                assert pair == pytest.approx(others[item], rel=0.02), key
            assert popularity == pytest.approx(expected, rel=1e-3), key
        elif key.startswith("trending/"):
            assert trends(kept[key]) == pytest.approx(trends(value), rel=1e-3), key


def trends(value: bytes) -> dict[int, float]:
    """Read the items of a segment with their weights, decayed to one moment."""
    words = np.frombuffer(value, np.int64)
    n = int(words[0]) >> 16
    weights = np.frombuffer(value, np.float32)[2 * (8 + n) : 2 * (8 + n) + n] * 2.0 ** (-(LATER - int(words[4])) / DAY)
    return dict(zip(words[8 : 8 + n].tolist(), weights.tolist(), strict=True))


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    acts = draw(st.lists(st.tuples(st.sampled_from(["u-0", "u-1", "u-2"]), st.sampled_from("abcdef"),
                                   st.integers(0, 2_000)), min_size=1, max_size=40))  # fmt: skip
    at = 0
    events = []
    for number, (user, item, pause) in enumerate(acts):
        at += pause
        events.append(an_event(number, user, item, timestamp=NOW + at * SECOND, context={"device": f"of-{user}"}))
    return events


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=histories())
def test_an_erasure_leaves_the_tables_as_if_the_user_had_never_been_there(events: list[Record]):
    """Finding 11: pairs, popularity and trends kept what erased users did."""
    with TemporaryDirectory() as folder:
        erasures = [STOP, an_erasure("u-0", LATER)]
        run = Run([*events, STOP], settings=SETTINGS, store=Path(folder) / "store", erasures=erasures).run().run()
    assert_same_tables(run.rows, rows_without("u-0", events))


def test_a_session_of_an_erased_user_is_taken_away_and_comes_back_from_no_older_event(tmp_path: Path):
    events = [an_event(1), an_event(2, item="b"), STOP, an_event(3, item="c"), an_event(4, "u-2", "c")]
    run = Run(events, store=tmp_path / "store", erasures=[STOP, an_erasure("u-1", NOW + 9 * SECOND)])
    run.run().run()
    place = hash64("u-1") % SETTINGS.learn.sessions
    assert run.rows[f"sessions/{place}"] is None
    assert run.counts["before_erasure"] == 1
    for state in states_of(tmp_path / "store", "learn_items"):
        assert hash64("u-1").to_bytes(8, "little") not in state
