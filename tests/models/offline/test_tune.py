from dataclasses import replace

import pytest

from models.names import SOURCES
from models.offline.tune import Trial, TuningConfig, tune
from models.offline.walk import WalkConfig
from models.strategy import Strategy
from tests.models.offline.builders import a_catalog, an_event, random_past

pytest.importorskip("optuna")

CONFIG = TuningConfig(
    WalkConfig((Strategy(allow_seen=True, allow_owned=True),), publish_every=32),
    n_trials=6,
    max_epochs=2,
    least_examples=10,
)


def rounds(n: int = 400) -> list[object]:
    """Everybody goes through the items in turn: only what follows what can tell the next one."""
    return [an_event(k, f"u-{k % 5}", f"i-{(k // 5 + k % 5) % 12}") for k in range(n)]


def summary(trials: list[Trial]) -> list[tuple[str, object, float]]:
    return [(trial.ranker, trial.settings, trial.earned.ndcg) for trial in trials]


def test_the_same_search_finds_the_same_and_the_best_comes_first():
    reported: list[Trial] = []
    trials = tune(random_past(), a_catalog(), CONFIG, on_trial=reported.append)
    assert len(reported) == len(trials) == 6
    assert summary(trials) == summary(tune(random_past(), a_catalog(), CONFIG))
    gains = [trial.earned.ndcg for trial in trials]
    assert gains == sorted(gains, reverse=True)
    assert len({trial.earned.n for trial in trials}) == 1


def test_a_blend_that_knows_what_follows_what_is_found():
    config = replace(CONFIG, rankers=("blend",), n_trials=25)
    best, *_, worst = tune(rounds(), a_catalog(), config)  # type: ignore[arg-type]
    assert set(best.settings) == set(SOURCES)
    assert best.earned.ndcg == 1.0
    assert worst.earned.ndcg < 0.5
    assert best.settings["sequential_rules"] > worst.settings["sequential_rules"]


def test_what_lies_behind_the_training_part_changes_nothing():
    events = random_past(300)
    otherwise = events[:245] + random_past(300, seed=1)[245:]
    assert summary(tune(events, a_catalog(), CONFIG)) == summary(tune(otherwise, a_catalog(), CONFIG))


def test_a_budget_of_time_ends_the_search():
    assert len(tune(random_past(), a_catalog(), replace(CONFIG, n_trials=10_000, seconds=0.2))) < 10_000


def test_too_small_a_past_is_refused():
    with pytest.raises(ValueError, match=r"there are \d examples.* 10 are needed"):
        tune(random_past(12), a_catalog(), CONFIG)
    with pytest.raises(ValueError, match=r"there are \d+ examples.* 200 are needed"):
        tune(random_past(200), a_catalog(), TuningConfig(CONFIG.walk))
