"""The funnel: chances that come true, each stage by itself, at each position."""

from dataclasses import replace

import numpy as np
import pytest

from models.names import FUNNEL, STAGES
from models.online.outcome import CLICKED
from models.rankers.calibration import Calibration
from models.rankers.checkpoint import read_checkpoint
from models.rankers.config import LearnerConfig
from models.rankers.funnel_learner import FunnelLearner, chance_variances, log_losses, rates_logits
from models.rankers.inputs import SlateExample, collate
from models.rankers.learners import new_learner, restore_learner
from models.rankers.networks import new_network
from models.rankers.served import FunnelRanker, served
from tests.models.rankers.builders import LENGTH, N_FEATURES, true_chances
from tests.models.rankers.builders import some_funnel_slates as some_slates

CONFIG = LearnerConfig(learning_rate=1e-2)
CLICK, CART, PURCHASE = range(3)


def taught(slates: list[SlateExample], learner: FunnelLearner | None = None) -> FunnelLearner:
    learner = learner or new_funnel()
    for start in range(0, len(slates), 32):
        batch = collate(slates[start : start + 32])
        learner.calibrate(batch)
        learner.learn(batch)
    return learner


def new_funnel() -> FunnelLearner:
    learner = new_learner(FUNNEL, CONFIG)
    assert isinstance(learner, FunnelLearner)
    return learner


def ranker_of(learner: FunnelLearner) -> FunnelRanker:
    ranker = served(learner.checkpoint().model)
    assert isinstance(ranker, FunnelRanker)
    return ranker


def said_of(ranker: FunnelRanker, slates: list[SlateExample]) -> np.ndarray:
    labelled = collate(slates)
    assert labelled.positions is not None
    return ranker.chances(labelled.inputs.features, labelled.positions)


@pytest.fixture(scope="module")
def learned() -> FunnelLearner:
    return taught(some_slates(6_400))


def test_each_stage_s_chances_are_near_the_truth(learned: FunnelLearner):
    unseen = some_slates(400, seed=9)
    said = said_of(ranker_of(learned), unseen)
    features = collate(unseen).inputs.features.astype(np.float64)
    true = np.array([true_chances(slate) for slate in features])
    true[..., 1:] *= true[..., :1]
    blind = np.abs(true - true.mean(axis=(0, 1))).mean(axis=(0, 1))  # what the same chance for all would miss by
    missed = np.abs(said - true).mean(axis=(0, 1))
    assert (missed < 0.5 * blind).all(), (missed, blind)
    assert np.abs(said.mean(axis=(0, 1)) - true.mean(axis=(0, 1))).max() < 0.02


def test_a_lower_position_is_clicked_less_and_a_click_there_says_as_much(learned: FunnelLearner):
    features = collate(some_slates(50, seed=5)).inputs.features
    ranker = ranker_of(learned)
    top, low = (ranker.chances(features, np.full(features.shape[:2], place, np.int64)) for place in (0, LENGTH - 1))
    assert low[..., CLICK].mean() < 0.6 * top[..., CLICK].mean()
    given_top, given_low = (chances[..., PURCHASE] / chances[..., CLICK] for chances in (top, low))
    assert np.abs(given_top - given_low).mean() < 0.1


def test_what_is_not_decided_yet_teaches_nothing_of_its_stage():
    clicks_alone = [slate._replace(decided=CLICKED) for slate in some_slates(640)]
    cut = [slate._replace(stages=tuple(bits & CLICKED for bits in slate.stages)) for slate in clicks_alone]
    one, other = taught(clicks_alone), taught(cut)
    unseen = some_slates(20, seed=3)
    np.testing.assert_array_equal(said_of(ranker_of(one), unseen), said_of(ranker_of(other), unseen))


def test_a_slate_of_which_nothing_is_decided_has_no_loss():
    learner = taught(some_slates(64))
    assert np.isnan(learner.losses(collate([some_slates(1)[0]._replace(decided=0)]))).all()


def test_what_was_wrongly_said_is_corrected_without_another_step():
    """The rates double: the calibration follows, whatever the weights say."""
    learner = taught(some_slates(1_280))
    moved = [
        slate._replace(stages=tuple(bits | (CLICKED if k % 3 == 0 else 0) for k, bits in enumerate(slate.stages)))
        for slate in some_slates(1_280, seed=4)
    ]
    for start in range(0, len(moved), 32):
        learner.calibrate(collate(moved[start : start + 32]))
    said = said_of(ranker_of(learner), moved)[..., CLICK].mean()
    came_true = np.mean([bits & CLICKED for slate in moved for bits in slate.stages])
    before = said_of(ranker_of(taught(some_slates(1_280))), moved)[..., CLICK].mean()
    assert abs(said - came_true) < 0.5 * abs(before - came_true)


def test_a_restored_funnel_goes_on_as_if_nothing_had_been(learned: FunnelLearner):
    packed, more = learned.snapshot(), some_slates(96, seed=7)
    one, other = (restore_learner(FUNNEL, packed) for _ in range(2))
    assert isinstance(one, FunnelLearner)
    assert isinstance(other, FunnelLearner)
    taught(more, one)
    taught(more[:32], other)
    again = restore_learner(FUNNEL, other.snapshot())
    assert isinstance(again, FunnelLearner)
    taught(more[32:], again)
    assert one.checkpoint().digest == again.checkpoint().digest


def test_a_checkpoint_carries_the_calibration(learned: FunnelLearner):
    read = read_checkpoint(learned.checkpoint().to_bytes(), "the test")
    unseen = some_slates(10, seed=8)
    assert read.kind == FUNNEL
    ranker = served(read.model)
    assert isinstance(ranker, FunnelRanker)
    np.testing.assert_array_equal(said_of(ranker, unseen), said_of(ranker_of(learned), unseen))


def test_chances_do_not_depend_on_the_company(learned: FunnelLearner):
    ranker, slates = ranker_of(learned), some_slates(9, seed=6)
    together = said_of(ranker, slates)
    for alone, slate in zip(together, slates, strict=True):
        np.testing.assert_array_equal(said_of(ranker, [slate])[0].round(6), alone.round(6))


@pytest.mark.parametrize("value", [1e4, -1e4, 6e4])
def test_features_beyond_all_bounds_give_chances_all_the_same(learned: FunnelLearner, value: float):
    features = np.full((1, 4, N_FEATURES), value, np.float32)
    chances = ranker_of(learned).chances(features, np.array([[0, 1, 10_000, 31]]))
    assert np.isfinite(chances).all()
    assert ((chances >= 0) & (chances <= 1)).all()


def test_only_a_funnel_is_learned_as_one_and_only_whole():
    with pytest.raises(ValueError, match="as a whole"):
        FunnelLearner(new_network("mlp", N_FEATURES))
    with pytest.raises(ValueError, match="as a whole"):
        FunnelLearner(new_network(FUNNEL, N_FEATURES), replace(CONFIG, fine_tune="adapter"))


def test_a_calibration_without_outcomes_changes_nothing():
    np.testing.assert_allclose(Calibration().fit().numpy(), [[1.0, 0.0]] * len(STAGES))


def test_a_calibration_finds_slope_and_intercept_of_a_kept_rule():
    rng = np.random.default_rng(0)
    logits = rng.normal(-2, 1.5, size=(40_000, 3)).astype(np.float32)
    true = 1 / (1 + np.exp(-(0.6 * logits - 0.7)))
    calibration = Calibration()
    for part in np.array_split(np.arange(len(logits)), 50):
        calibration.add(logits[part], rng.random((len(part), 3)) < true[part], np.ones((len(part), 3), np.bool_))
    np.testing.assert_allclose(calibration.fit().numpy(), [[0.6, -0.7]] * 3, atol=0.08)


@pytest.mark.parametrize(
    ("slope", "intercept", "mean", "spread"),
    [(0.5, 1.0, -5.0, 1.0), (0.0, -2.2, -2.0, 1.5), (-0.3, -1.0, -1.0, 1.0), (1.7, 2.0, -6.0, 2.0)],
)
def test_whatever_was_said_a_calibration_makes_as_many_come_true_as_are_said(
    slope: float, intercept: float, mean: float, spread: float
):
    """Newton's steps, cut coordinate by coordinate, went round in circles or beside the optimum."""
    rng = np.random.default_rng(0)
    logits = rng.normal(mean, spread, size=(4_000, 3)).astype(np.float32)
    came_true = rng.random((4_000, 3)) < 1 / (1 + np.exp(-(slope * logits + intercept)))
    calibration = Calibration()
    calibration.add(logits, came_true, np.ones_like(came_true))
    fitted = calibration.fit().numpy().astype(np.float64)
    assert calibration.deviations(fitted).max() < 1.0
    assert (fitted[:, 0] >= 0.2).all()


def test_a_stage_that_is_decided_later_begins_from_its_own_rate():
    """With a day for purchases, a day of clicks had said that half of them end in one."""
    learner = new_funnel()
    taught([slate._replace(decided=CLICKED) for slate in some_slates(320)], learner)
    assert not learner.calibration.knows_all
    late = [slate._replace(decided=0b110) for slate in some_slates(32, seed=2)]
    learner.learn(collate(late))
    unseen = some_slates(100, seed=3)
    said = said_of(ranker_of(learner), unseen)
    came_true = np.mean([bits >> PURCHASE & 1 for slate in unseen for bits in slate.stages])
    assert abs(said[..., PURCHASE].mean() - came_true) < 0.02


def test_what_chance_adds_is_the_variance_that_outcomes_have_where_neither_chance_is_better():
    slate = collate(some_slates(1))
    assert slate.stages is not None
    assert slate.decided is not None
    rng, n_runs, (one, other) = np.random.default_rng(0), 20_000, (0.02, 0.06)
    apart = np.log(one / (1 - one)) - np.log(other / (1 - other))
    even = np.log((1 - one) / (1 - other)) / -apart
    logits = [rates_logits(np.full(len(STAGES), rate), slate) for rate in (one, other)]
    slate = replace(slate, decided=np.array([[True, False, False]]))
    n_clicks = rng.binomial(LENGTH, even, n_runs)
    losses = [-(n_clicks * np.log(p) + (LENGTH - n_clicks) * np.log(1 - p)) / LENGTH for p in (one, other)]
    difference = losses[0] - losses[1]
    assert difference.mean() == pytest.approx(0, abs=4 * difference.std() / np.sqrt(n_runs))
    assert chance_variances(*logits, slate)[0] == pytest.approx(difference.var(), rel=0.05)
    nobody = replace(slate, stages=np.zeros_like(slate.stages))
    assert log_losses(logits[0], nobody)[0] == pytest.approx(losses[0][n_clicks == 0][0], rel=1e-4)


def test_chances_that_agree_leave_nothing_to_chance():
    slate = collate(some_slates(4))
    logits = rates_logits(np.full(len(STAGES), 0.1), slate)
    assert chance_variances(logits, logits, slate).tolist() == [0.0] * 4
    assert chance_variances(logits, logits + 1e-4, slate) == pytest.approx(
        len(STAGES) ** 2 * 0.09 * 1e-8 / LENGTH, rel=0.05
    )
