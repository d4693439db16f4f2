import numpy as np
import pytest

from models.names import FEATURES
from models.online.examination import N_POSITIONS, Examination
from models.rankers.inputs import SlateExample, collate
from models.rankers.served import BlendRanker
from tests.models.online.simulated import Audience, Taste, linear_taste, looks_at


def learned_from(slates: list[SlateExample]) -> Examination:
    examination = Examination()
    for start in range(0, len(slates), 64):
        examination.learn(collate(slates[start : start + 64]))
    return examination


def saturating_taste(features: np.ndarray) -> np.ndarray:
    """A step, which no sum of features describes."""
    return np.where(features[..., :4].mean(-1) > 0.6, -0.5, -4.5)


@pytest.mark.parametrize(("steepness", "taste"), [(1.0, linear_taste), (0.5, saturating_taste)])
def test_how_far_users_look_is_told_apart_from_how_good_what_stands_there_is(steepness: float, taste: Taste):
    found = learned_from(list(Audience(taste, steepness).serve(BlendRanker(), 3_200))).at(np.arange(9))
    true = looks_at(np.arange(9), steepness)
    assert np.abs(np.log(found[1:] / true[1:])).mean() < 0.25
    assert found[0] == 1


def test_where_all_is_looked_at_alike_no_position_is_favoured():
    found = learned_from(list(Audience(linear_taste, steepness=0.0).serve(BlendRanker(), 1_600))).at(np.arange(9))
    assert found.min() > 0.8


def test_positions_far_down_have_the_last_known_probability():
    examination = Examination()
    assert examination.at(np.array([N_POSITIONS - 1]))[0] == examination.at(np.array([9_999]))[0]


def test_a_restored_estimate_goes_on_to_the_bit():
    slates = list(Audience().serve(BlendRanker(), 256))
    half = Examination(learned_from(slates[:128]).state)
    for start in (128, 192):
        half.learn(collate(slates[start : start + 64]))
    assert half.state == learned_from(slates).state


def test_clicks_on_everything_and_on_nothing_stay_finite():
    slates = list(Audience().serve(BlendRanker(), 128))
    for label in (0.0, 1.0):
        found = learned_from([slate._replace(labels=(label,) * len(slate.items)) for slate in slates])
        assert np.isfinite(found.by_position).all()
        assert (found.by_position > 0).all()


def test_features_beyond_measure_poison_nothing():
    slates = list(Audience().serve(BlendRanker(), 64))
    beyond = np.full((len(slates[0].items), len(FEATURES)), np.inf, np.float16).tobytes()
    for at in (0, 63):
        poisoned = [slate._replace(features=beyond) if n == at else slate for n, slate in enumerate(slates)]
        assert np.isfinite(learned_from(poisoned + slates).by_position).all()
