import numpy as np
import pytest

from models.experiments.assign.declaration import Rules
from models.experiments.judge.verdict import compare
from tests.models.experiments.builders import an_estimate

FINE, BROKEN = np.array(False), np.array(True)


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [(0.12, "winner"), (0.08, "harmful"), (0.1005, "running")],
)
def test_a_clear_difference_decides(mean: float, verdict: str):
    found = compare(an_estimate(mean, 1e-6), an_estimate(0.1, 1e-6), FINE, Rules())
    assert found.verdict == verdict


def test_where_less_is_better_a_fall_wins():
    found = compare(an_estimate(0.08), an_estimate(0.1), FINE, Rules(), better=-1)
    assert found.verdict == "winner"


def test_equal_variants_end_as_no_difference_once_the_interval_lies_within_delta():
    control, treatment = an_estimate(0.1, 1e-9, 1e6), an_estimate(0.1001, 1e-9, 1e6)
    assert compare(treatment, control, FINE, Rules(delta=0.01)).verdict == "no difference"
    assert compare(treatment, control, FINE, Rules(delta=0.001)).verdict == "running"


def test_a_small_difference_that_is_certain_wins_even_within_delta():
    control, treatment = an_estimate(0.1, 1e-12, 1e6), an_estimate(0.1001, 1e-12, 1e6)
    assert compare(treatment, control, FINE, Rules(delta=0.01)).verdict == "winner"


def test_a_mismatch_comes_before_any_other_verdict():
    assert compare(an_estimate(0.2), an_estimate(0.1), BROKEN, Rules()).verdict == "mismatch"


def test_few_users_decide_nothing():
    found = compare(an_estimate(0.5, 1e-6, 99), an_estimate(0.1, 1e-6, 5_000), FINE, Rules())
    assert (found.verdict, found.p) == ("running", 1)


def test_users_who_do_not_differ_yet_decide_nothing():
    assert compare(an_estimate(0.5, 0.0), an_estimate(0.1, 0.0), FINE, Rules()).verdict == "running"


def test_more_treatments_share_the_level():
    # 3.2 standard errors apart: enough for one treatment at 5%, too little for four at 5% together.
    treatment, control = an_estimate(0.1045, 1e-6, 2_500), an_estimate(0.1, 1e-6, 2_500)
    alone, among_four = (compare(treatment, control, FINE, Rules(), n) for n in (1, 4))
    assert (alone.verdict, among_four.verdict) == ("winner", "running")
    assert alone.p < 0.05 < among_four.p


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"mismatch_alpha": 1.0}, {"delta": -0.1}])
def test_rules_that_could_decide_nothing_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=r"alpha|delta"):
        Rules(**wrong)  # type: ignore[arg-type]
