"""Feedback trains the funnel: clicks are decided first, purchases when their own window has closed."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from dataflows.records import Record
from dataflows.run.settings import FunnelSettings, LearnSettings, Settings
from models.config import AttributionConfig
from models.names import FUNNEL
from models.numeric.ids import hash64
from models.online.learner import OnlineRanker
from models.rankers.checkpoint import Checkpoint
from models.rankers.served import FunnelRanker, served
from tests.flows.crashes import CrashOnce
from tests.flows.erasing import an_erasure, states_of
from tests.flows.feedback import CLOCK, EVERY_S, LIKED, a_slate, features_of, settings_for, some_features
from tests.flows.learning import NOW, SECOND, Run, an_event
from tests.flows.test_learn_ranker import LATER, ranker_rows, the_registry

N_SLATES, N_USERS = 320, 40


def settings_of(ranker: str = "none", **funnel: Any) -> Settings:
    return Settings(
        learn=LearnSettings(shards=2, min_users=1),
        attribution=AttributionConfig(window_s=5, windows_s={"purchase": 300}, lateness_s=2, max_slates=200),
        ranker=settings_for(ranker).ranker,
        funnel=FunnelSettings(**({"learn": True, "publish_every": 2, "learning_rate": 0.01} | funnel)),
    )


def feedback_on(slate: Record, number: int) -> list[Record]:
    """Click each item that is liked above .6, and buy of these what is liked above .8, a minute and a half later."""
    sent, second = orjson.loads(slate.value or b""), number * EVERY_S
    events = []
    for k, (item, features) in enumerate(zip(sent["items"], features_of(sent), strict=True)):
        for after, kind, least in ((2, "click", 0.6), (90, "purchase", 0.8)):
            if features[LIKED] > least:
                at = NOW + (second + after) * SECOND
                events.append(
                    an_event(
                        100 * number + 10 * k + after % 9,
                        sent["user_id"],
                        item["item_id"],
                        event_type=kind,
                        timestamp=at,
                    )
                )
    events.append(an_event(100 * number + 99, sent["user_id"], "other", timestamp=NOW + (second + 5) * SECOND))
    return events


def a_run(settings: Settings | None = None, store: Path | None = None, n: int = N_SLATES, **run: Any) -> Run:
    slates = [a_slate(k, f"u-{k % N_USERS}", items_of=f"{k}-") for k in range(n)]
    events = [event for k, slate in enumerate(slates) for event in feedback_on(slate, k)]
    events.sort(key=lambda record: orjson.loads(record.value or b"")["timestamp"])
    events = [event._replace(offset=offset) for offset, event in enumerate(events)]
    return Run(events, [], settings or settings_of(), CLOCK, store, 10, slates, **run)


@pytest.fixture(scope="module")
def steady() -> Run:
    """A run that nothing interrupts."""
    return a_run().run()


def the_funnel(run: Run) -> Checkpoint:
    [(name, checkpoint)] = the_registry(run).changes()
    assert name == FUNNEL
    assert checkpoint is not None
    return checkpoint


def test_feedback_says_how_probable_a_click_and_a_purchase_are(steady: Run):
    ranker = served(the_funnel(steady).model)
    assert isinstance(ranker, FunnelRanker)
    features = some_features(np.random.default_rng(1), 400).astype(np.float32)[None]  # (1, 400, F)
    click, _, purchase = ranker.chances(features, np.zeros((1, 400), np.int64))[0].T
    liked = features[0, :, LIKED]
    assert click[liked > 0.7].mean() > 0.6
    assert click[liked < 0.5].mean() < 0.3
    assert purchase[liked > 0.9].mean() > 1.3 * purchase[(liked > 0.6) & (liked < 0.75)].mean()
    assert (purchase < click + 0.05).all()


def test_a_slate_is_counted_once_and_learned_for_each_window_that_closes(steady: Run):
    assert 0.8 * N_SLATES <= steady.counts["attributed_slates"] <= N_SLATES
    assert steady.counts["learned_slates"] > 1.7 * steady.counts["attributed_slates"]


def test_a_ranker_beside_the_funnel_learns_what_it_would_alone():
    alone, beside = a_run(settings_of("linear", learn=False)).run(), a_run(settings_of("linear")).run()
    assert FUNNEL in the_registry(beside).names
    rows = {key: value for key, value in ranker_rows(beside).items() if not key.startswith("ranker/funnel")}
    assert rows == ranker_rows(alone)


def test_after_a_crash_the_funnel_is_the_same(steady: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In other steps, `tests/flows/test_learn_ranker.py`: they are the same."""
    run = a_run(store=tmp_path / "store")
    CrashOnce(monkeypatch, OnlineRanker, "_decide", 7).run_twice(run)
    assert ranker_rows(run) == ranker_rows(steady)


def test_an_erased_user_s_examples_go(tmp_path: Path):
    run = a_run(store=tmp_path / "store", n=100, erasures=[an_erasure("u-0", LATER)])
    run.run()
    assert any(hash64("u-1").to_bytes(8, "big") in state for state in states_of(tmp_path / "store", "learn_funnel"))
    assert not any(hash64("u-0").to_bytes(8, "big") in state for state in states_of(tmp_path / "store", "learn_funnel"))
