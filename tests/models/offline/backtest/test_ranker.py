from typing import Any

import numpy as np

from models.names import FEATURES
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.ranker import trained
from models.offline.fitting import LEAST_EXAMPLES, Gathered
from models.offline.walk import Examples
from models.rankers.checkpoint import Checkpoint
from models.rankers.inputs import Inputs
from models.rankers.served import NetworkRanker


def some_examples(n: int, signal: str | None) -> Examples:
    """Slates of 8 whose label is where a feature is largest, or anywhere; the blend says nothing."""
    rng = np.random.default_rng(0)
    features = rng.random((n, 8, len(FEATURES)), np.float32)
    label: Any = rng.integers(0, 8, n)
    if signal is not None:
        label = features[:, :, FEATURES.index(signal)].argmax(axis=1)
    at = np.arange(n)
    return Examples(Inputs.of_features(features), label, np.ones((n, 8), np.bool_), at, at, 0)


def ranker(examples: Examples) -> Checkpoint | None:
    gathered = Gathered(1.0, 0)
    gathered.add(examples)
    return trained(gathered, BacktestConfig(k=2), lambda *_: None)


def test_a_ranker_that_beats_the_blend_on_what_was_held_out_is_taken():
    examples = some_examples(600, "back")
    checkpoint = ranker(examples)
    assert checkpoint is not None
    assert (NetworkRanker(checkpoint.model).score(examples.inputs).argmax(axis=1) == examples.label_index).mean() > 0.6


def test_a_ranker_that_learned_nothing_leaves_the_blend_in_its_place():
    by_blend = some_examples(600, "blend")
    noise = by_blend.inputs.features.copy()
    noise[:480] = some_examples(480, None).inputs.features
    misled = Examples(
        Inputs.of_features(noise), by_blend.label_index, by_blend.present, by_blend.made_at, by_blend.answered_at, 0
    )
    assert ranker(misled) is None


def test_too_few_examples_make_no_ranker():
    assert ranker(some_examples(LEAST_EXAMPLES - 1, "back")) is None
