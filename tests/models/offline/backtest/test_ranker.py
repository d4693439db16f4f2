from typing import Any

import numpy as np

from models.names import FEATURES
from models.offline.backtest.ranker import LEAST_EXAMPLES, RankerLearner
from models.offline.walk import Examples
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


def learner(examples: Examples) -> RankerLearner:
    made = RankerLearner(1.0, k=2)
    made.gathered.add(examples)
    return made


def test_a_ranker_that_beats_the_blend_on_what_was_held_out_is_taken():
    examples = some_examples(600, "back")
    checkpoint = learner(examples).ranker(lambda *_: None)
    assert checkpoint is not None
    assert (NetworkRanker(checkpoint.model).score(examples.inputs).argmax(axis=1) == examples.label_index).mean() > 0.6


def test_a_ranker_that_learned_nothing_leaves_the_blend_in_its_place():
    by_blend = some_examples(600, "blend")
    noise = by_blend.inputs.features.copy()
    noise[:480] = some_examples(480, None).inputs.features
    misled = Examples(
        Inputs.of_features(noise), by_blend.label_index, by_blend.present, by_blend.made_at, by_blend.answered_at, 0
    )
    assert learner(misled).ranker(lambda *_: None) is None


def test_too_few_examples_make_no_ranker():
    assert learner(some_examples(LEAST_EXAMPLES - 1, "back")).ranker(lambda *_: None) is None
