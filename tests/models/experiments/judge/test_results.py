from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from models.experiments.assign.declaration import Analysis, Experiment, Rules, TrafficBounds, Variant
from models.experiments.judge.metrics import INDEX_OF, METRICS
from models.experiments.judge.results import look, overall
from models.experiments.judge.sequential import lift
from models.experiments.judge.tally import Tally, add_up_changes
from models.experiments.judge.user_metrics import Change
from models.messages import ExperimentResult
from models.strategy import Strategy
from tests.models.experiments.builders import estimates, values_of


def an_experiment(*names: str, weights: tuple[float, ...] = (), **analysis: Any) -> Experiment:
    names = names or ("control", "treatment")
    variants = tuple(
        Variant(name, weight, Strategy()) for name, weight in zip(names, weights or [1.0] * len(names), strict=True)
    )
    return Experiment("e", variants, analysis=Analysis(**{"goal": "conversion"} | analysis))


def users_of(n: int, rate: float, seed: int) -> np.ndarray:
    """(N,) who converted."""
    return (np.random.default_rng(seed).random(n) < rate).astype(float)


def tally_of(**converted: np.ndarray) -> Tally:
    tally = Tally()
    for variant, users in converted.items():
        outcomes = [[[0.0, 0.0, 0.0, 0.0] for _ in METRICS] for _ in users]
        for outcome, value in zip(outcomes, users, strict=True):
            outcome[INDEX_OF["conversion"]] = [float(value), 1.0, 0.0, 1.0]
        tally.add(add_up_changes([Change("e", "d", variant, 5, None, outcome, (1, 2)) for outcome in outcomes])[0])
    return tally


CONTROL, BETTER, WORSE = users_of(4_000, 0.1, 1), users_of(4_000, 0.16, 2), users_of(4_000, 0.05, 3)


def conversion(result: ExperimentResult, variant: int) -> Any:
    return result.variants[variant].metrics[INDEX_OF["conversion"]]


def test_the_figures_are_those_of_the_users():
    result = look(tally_of(control=CONTROL, treatment=BETTER), an_experiment(), "slate")
    first, second = estimates(values_of(CONTROL), values_of(BETTER))
    assert conversion(result, 0).value == pytest.approx(CONTROL.mean())
    assert conversion(result, 1).error == pytest.approx(np.sqrt(second.variance))
    assert conversion(result, 1).lift[0] == pytest.approx(float(lift(second, first, 0.05).low))
    assert [variant.users for variant in result.variants] == [4_000, 4_000]
    assert result.variants[1].coverage == 2
    assert (result.goal, result.impressions, result.updated_at) == ("conversion", "slate", 5)


@pytest.mark.parametrize(
    ("treatment", "verdict"), [(BETTER, "winner"), (WORSE, "harmful"), (users_of(4_000, 0.1, 4), "running")]
)
def test_the_goal_gives_the_verdict(treatment: np.ndarray, verdict: str):
    result = look(tally_of(control=CONTROL, treatment=treatment), an_experiment(), "slate")
    assert result.verdict == conversion(result, 1).verdict == verdict


def test_users_who_fall_otherwise_than_planned_make_a_mismatch():
    experiment = an_experiment(weights=(1, 3))
    result = look(tally_of(control=CONTROL, treatment=BETTER), experiment, "slate")
    assert result.verdict == "mismatch"
    assert result.mismatch_p < 1e-6


def test_the_first_decision_is_remembered_and_looks_make_a_history():
    tally, experiment = tally_of(control=CONTROL, treatment=BETTER), an_experiment()
    first = look(tally, experiment, "slate")
    for change in add_up_changes([Change("e", "d", "treatment", 9, None, [[0.0, 1.0, 0.0, 1.0]] * len(METRICS))]):
        tally.add(change)
    second = look(tally, experiment, "slate")
    assert first.decision == second.decision
    assert second.decision is not None
    assert (second.decision.verdict, second.decision.users) == ("winner", 8_000)
    assert [(point.at, point.users) for point in second.history] == [(5, 8_000), (9, 8_001)]
    assert second.history[1].lifts["treatment"] == tuple(conversion(second, 1).lift)


def test_nothing_is_known_at_first():
    result = look(Tally(), an_experiment(), "slate")
    assert result.verdict == "running"
    assert conversion(result, 1).difference == (None, None)
    assert orjson.loads(orjson.dumps(result))["variants"][1]["metrics"][0]["error"] is None


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["winner", "harmful"], "winner"),
        (["running", "harmful"], "running"),
        (["harmful", "harmful"], "harmful"),
        (["no difference", "no difference"], "no difference"),
        (["mismatch", "mismatch"], "mismatch"),
    ],
)
def test_one_winner_is_enough_and_for_the_rest_all_agree(verdicts: list[Any], expected: str):
    assert overall(verdicts) == expected


def traffic(result: ExperimentResult) -> list[float]:
    return [variant.traffic for variant in result.variants]


def test_traffic_stays_as_planned_unless_it_may_move():
    assert traffic(look(tally_of(control=CONTROL, treatment=BETTER), an_experiment(), "slate")) == [0.5, 0.5]


@pytest.mark.parametrize(("treatment", "expected"), [(BETTER, [0.05, 0.95]), (WORSE, [0.95, 0.05])])
def test_a_verdict_stops_the_worse_variant_where_that_is_asked(treatment: np.ndarray, expected: list[float]):
    result = look(tally_of(control=CONTROL, treatment=treatment), an_experiment(stop=True), "slate")
    assert traffic(result) == pytest.approx(expected)


def test_of_two_winners_the_better_gets_the_traffic():
    tally = tally_of(control=CONTROL, a=BETTER, b=users_of(4_000, 0.2, 5))
    assert traffic(look(tally, an_experiment("control", "a", "b", stop=True), "slate")) == pytest.approx(
        [0.025, 0.025, 0.95]
    )


def test_a_bandit_moves_traffic_within_its_bounds():
    experiment = an_experiment(bandit=TrafficBounds(0.2, 0.8))
    assert traffic(look(tally_of(control=CONTROL, treatment=BETTER), experiment, "slate")) == pytest.approx([0.2, 0.8])
    few = tally_of(control=CONTROL[:50], treatment=BETTER[:50])
    assert traffic(look(few, experiment, "slate")) == [0.5, 0.5]


def test_a_mismatch_moves_no_traffic():
    experiment = an_experiment(weights=(1, 3), stop=True, bandit=TrafficBounds(0.2, 0.8))
    assert traffic(look(tally_of(control=CONTROL, treatment=BETTER), experiment, "slate")) == [0.25, 0.75]


def test_less_latency_wins():
    tally = Tally()
    rng = np.random.default_rng(6)
    for variant, mean in (("control", 20.0), ("treatment", 10.0)):
        outcomes = [[[0.0] * 4 for _ in METRICS] for _ in range(300)]
        for outcome in outcomes:
            outcome[INDEX_OF["latency_ms"]] = [rng.exponential(mean), 1.0, 0.0, 0.0]
        tally.add(add_up_changes([Change("e", "d", variant, 5, None, outcome) for outcome in outcomes])[0])
    rules = Rules(alpha=0.05)
    assert look(tally, an_experiment(goal="latency_ms", rules=rules), "slate").verdict == "winner"


@pytest.mark.parametrize(("probabilities", "verdict"), [((0.2, 0.5, 0.3), "winner"), ((0.3, 0.5, 0.2), "harmful")])
def test_an_interleaved_experiment_says_whose_items_users_want(probabilities: tuple[float, ...], verdict: str):
    experiment = replace(an_experiment("first", "second"), kind="interleaving")
    earned = np.random.default_rng(8).choice([-1.0, 0.0, 1.0], 3_000, p=probabilities)
    tally = Tally()
    for value in earned:
        outcome = [[0.0] * 4 for _ in METRICS]
        outcome[INDEX_OF["preference"]] = [value, 1.0, 0.0, 1.0]
        tally.add(add_up_changes([Change("e", "d", "interleaved", 5, None, outcome)])[0])
    result = look(tally, experiment, "slate")
    [variant] = result.variants
    preference = variant.metrics[INDEX_OF["preference"]]
    assert (result.goal, result.verdict, preference.verdict) == ("preference", verdict, verdict)
    assert preference.value == pytest.approx(earned.mean())
    assert result.history[0].lifts == {"second": preference.difference}
    assert (variant.users, variant.traffic, result.mismatch_p) == (3_000, 1, 1)
