"""What every learner promises, whatever it is made of."""

from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest

from models.names import FEATURES, LEARNERS, LearnerName, Loss
from models.numeric.metrics import pairwise_auc
from models.rankers.adapter import Adapted
from models.rankers.checkpoint import CheckpointError, weights_digest
from models.rankers.config import LearnerConfig
from models.rankers.ftrl import FTRL
from models.rankers.inputs import Inputs, Labelled, collate
from models.rankers.learners import Learner, new_learner, restore_learner
from models.rankers.served import NetworkRanker, served
from tests.models.rankers.builders import (
    Rule,
    by_feature,
    by_pairing,
    by_sequence,
    ragged,
    some_inputs,
    some_slates,
)

EVERY_LEARNER = pytest.mark.parametrize("name", LEARNERS)
CONFIG = LearnerConfig(learning_rate=5e-3)


def batches(n: int, rule: Rule = by_feature(2), seed: int = 0) -> list[Labelled]:  # noqa: B008 - a pure function
    slates = some_slates(32 * n, rule, seed)
    return [collate(slates[k : k + 32]) for k in range(0, 32 * n, 32)]


def a_learner(name: LearnerName, n_batches: int = 0, config: LearnerConfig = CONFIG) -> Learner:
    learner = new_learner(name, config)
    for batch in batches(n_batches):
        learner.learn(batch)
    return learner


def quality(learner: Learner, rule: Rule, seed: int = 9) -> float:
    """Say how often a positive is put before a negative, on slates that nobody learned."""
    unseen = collate(some_slates(300, rule, seed))
    return float(np.nanmean(pairwise_auc(learner.score(unseen.inputs), unseen.labels, unseen.present)))


@EVERY_LEARNER
@pytest.mark.parametrize("shape", [(1, 1), (4, 9), (70, 3), (5, 0)])
def test_each_candidate_has_a_finite_score(name: LearnerName, shape: tuple[int, int]):
    scores = a_learner(name, 2).score(some_inputs(*shape))
    assert scores.shape == shape
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@EVERY_LEARNER
def test_the_same_examples_make_the_same_learner(name: LearnerName):
    assert a_learner(name, 3).snapshot() == a_learner(name, 3).snapshot()


@EVERY_LEARNER
def test_predicting_leaves_no_trace(name: LearnerName):
    learner = a_learner(name, 2)
    before = learner.snapshot()
    learner.score(some_inputs(seed=5))
    learner.losses(batches(1, seed=5)[0])
    learner.checkpoint()
    assert learner.snapshot() == before


@EVERY_LEARNER
def test_ids_that_nobody_has_seen_are_scored_and_learned(name: LearnerName):
    learner, known = a_learner(name, 2), some_inputs()
    strange = Inputs(known.features, known.items * 7 + 1, known.users * 5 + 3, known.histories * 0)
    assert np.isfinite(learner.score(strange)).all()
    batch = batches(1)[0]
    learner.learn(Labelled(replace(batch.inputs, items=batch.inputs.items + 11), batch.labels, batch.weights))
    assert np.isfinite(learner.score(strange)).all()


@EVERY_LEARNER
def test_what_it_remembers_does_not_grow(name: LearnerName):
    learner = a_learner(name, 2)
    size = len(learner.snapshot())
    for batch in batches(10, seed=3):
        ids = batch.inputs.items + np.arange(batch.n)[:, None] * 1_000
        learner.learn(Labelled(replace(batch.inputs, items=ids), batch.labels, batch.weights))
    assert len(learner.snapshot()) <= size + 64


@EVERY_LEARNER
def test_a_restored_learner_goes_on_as_if_nothing_had_been(name: LearnerName):
    learner = a_learner(name, 3)
    again = restore_learner(name, learner.snapshot())
    assert again.snapshot() == learner.snapshot()
    for batch in batches(3, seed=4):
        learner.learn(batch)
        again.learn(batch)
    assert again.snapshot() == learner.snapshot()


@EVERY_LEARNER
def test_a_new_learner_comes_back_from_its_snapshot(name: LearnerName):
    learner = a_learner(name)
    assert restore_learner(name, learner.snapshot()).snapshot() == learner.snapshot()


def test_ftrl_takes_its_weights_along_by_name_to_a_list_with_more_features():
    learner = new_learner("ftrl")
    learner.learn(collate(some_slates(64, by_feature(2))))
    shorter = FTRL.restore(learner.snapshot(), range(len(FEATURES)), len(FEATURES))
    longer = FTRL.restore(learner.snapshot(), range(1, len(FEATURES) + 1), len(FEATURES) + 1)
    features = collate(some_slates(8, by_feature(2), seed=5)).inputs.features
    added = np.concatenate([np.ones_like(features[..., :1]), features], axis=2)
    np.testing.assert_allclose(
        longer.score(Inputs.of_features(added)), shorter.score(Inputs.of_features(features)), rtol=1e-5
    )


@EVERY_LEARNER
def test_it_finds_what_clicks_follow(name: LearnerName):
    learner = a_learner(name)
    before = quality(learner, by_feature(2))
    for batch in batches(40):
        learner.learn(batch)
    assert quality(learner, by_feature(2)) > max(before, 0.75)


@pytest.mark.parametrize(("name", "rule"), [("neumf", by_pairing), ("gru", by_sequence)])
def test_who_knows_ids_finds_what_features_do_not_tell(name: LearnerName, rule: Rule):
    learner, blind = (a_learner(n, config=LearnerConfig(learning_rate=0.02)) for n in (name, "mlp"))
    for batch in batches(80, rule):
        learner.learn(batch)
        blind.learn(batch)
    assert quality(blind, rule) < 0.55
    assert quality(learner, rule) > 0.75


@pytest.mark.parametrize(
    ("name", "loss"), [pair for pair in product(LEARNERS, get_args(Loss)) if pair != ("ftrl", "softmax")]
)
def test_learning_brings_every_loss_down(name: LearnerName, loss: Loss):
    learner = a_learner(name, config=replace(CONFIG, loss=loss))
    unseen = collate(some_slates(200, by_feature(2), 9))
    learner.learn(batches(1)[0])
    before = np.nanmean(learner.losses(unseen))
    for batch in batches(25):
        learner.learn(batch)
    assert np.nanmean(learner.losses(unseen)) < before


@EVERY_LEARNER
def test_items_that_are_not_there_say_nothing(name: LearnerName):
    clean, dirty = a_learner(name), a_learner(name)
    for batch in batches(3):
        short = ragged(batch, 3)
        clean.learn(short)
        labels, features = short.labels.copy(), short.inputs.features.copy()
        labels[:, -3:], features[:, -3:] = 1, 9
        changed = Labelled(replace(short.inputs, features=features), labels, short.weights)
        assert np.allclose(clean.losses(short), clean.losses(changed), atol=1e-6, equal_nan=True)
        dirty.learn(changed)
    inputs = some_inputs()
    assert np.allclose(clean.score(inputs), dirty.score(inputs), atol=1e-5)


@EVERY_LEARNER
def test_a_checkpoint_scores_as_its_learner_did_and_stays_as_it_is(name: LearnerName):
    learner, inputs = a_learner(name, 3), some_inputs(40, 7)
    expected = learner.score(inputs)
    checkpoint = learner.checkpoint()
    for batch in batches(3, seed=6):
        learner.learn(batch)
    served = NetworkRanker(checkpoint.model)
    assert np.allclose(served.score(inputs), expected, atol=1e-5)
    assert not np.allclose(learner.score(inputs), expected, atol=1e-5)


@EVERY_LEARNER
def test_served_scores_do_not_depend_on_the_company(name: LearnerName):
    served, inputs = NetworkRanker(a_learner(name, 3).checkpoint().model), some_inputs(150, 13)
    together = served.score(inputs)
    for size in (1, 2, 7, 60):
        apart = [served.score(inputs[start : start + size]) for start in range(0, 150, size)]
        assert np.array_equal(np.concatenate(apart), together)


@pytest.mark.parametrize("name", [name for name in LEARNERS if name != "ftrl"])
def test_an_adapter_leaves_the_network_as_it_was_and_still_learns(name: LearnerName):
    start = a_learner(name, 5).checkpoint()
    learner = new_learner(name, replace(CONFIG, fine_tune="adapter", learning_rate=0.03), start)
    inputs = some_inputs()
    assert np.allclose(learner.score(inputs), NetworkRanker(start.model).score(inputs), atol=1e-6)
    other = by_feature(2, -1.0)
    before = quality(learner, other)
    for batch in batches(30, other):
        learner.learn(batch)
    frozen = learner.checkpoint()
    assert isinstance(frozen.model, Adapted)
    assert weights_digest(frozen.model.frozen()) == start.digest
    assert np.allclose(served(frozen.model).score(inputs), learner.score(inputs), atol=1e-6)
    assert quality(learner, other) > before + 0.2
    assert (frozen.kind, frozen.model.described()["kind"]) == (name, "low_rank")
    assert restore_learner(name, learner.snapshot()).snapshot() == learner.snapshot()


def test_a_learner_goes_on_by_the_loss_that_its_checkpoint_was_trained_with():
    start = a_learner("mlp", 2, replace(CONFIG, loss="softmax")).checkpoint()
    assert new_learner("mlp", CONFIG, start).checkpoint().loss == "softmax"


def test_what_cannot_be_made_is_refused():
    start = a_learner("mlp", 1).checkpoint()
    with pytest.raises(ValueError, match="holds the ranker 'mlp', not 'gru'"):
        new_learner("gru", CONFIG, start)
    with pytest.raises(ValueError, match="starts from nothing"):
        new_learner("ftrl", CONFIG, start)
    with pytest.raises(ValueError, match="no softmax loss"):
        new_learner("ftrl", replace(CONFIG, loss="softmax"))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        restore_learner("mlp", b"garbage")
