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


def test_a_decision_stands_though_a_later_look_does_not_see_it_any_more():
    tally, experiment = tally_of(control=CONTROL, treatment=BETTER), an_experiment(stop=True)
    decided = look(tally, experiment, "slate")
    tally.add(next(iter(add_up_changes(changes_in("treatment", np.zeros(4_000))))))
    later = look(tally, experiment, "slate")
    assert conversion(later, 1).verdict != "winner"
    assert (later.verdict, later.decision) == ("mismatch", decided.decision)  # twice as many users as planned
    tally.add(next(iter(add_up_changes(changes_in("control", np.zeros(4_000))))))
    later = look(tally, experiment, "slate")
    assert (later.verdict, later.traffic) == ("winner", decided.traffic)


def test_a_mismatch_that_passes_gives_way_to_a_decision():
    tally, experiment = tally_of(control=CONTROL, treatment=BETTER[:2_000]), an_experiment(stop=True)
    first = look(tally, experiment, "slate")
    assert (first.verdict, first.traffic) == ("mismatch", [])
    tally.add(next(iter(add_up_changes(changes_in("treatment", BETTER[2_000:])))))
    later = look(tally, experiment, "slate")
    assert later.decision is not None
    assert (later.verdict, later.decision.variant) == ("winner", "treatment")


def changes_in(variant: str, converted: np.ndarray) -> list[Change]:
    outcomes = [[[0.0] * 4 for _ in METRICS] for _ in converted]
    for outcome, value in zip(outcomes, converted, strict=True):
        outcome[INDEX_OF["conversion"]] = [float(value), 1.0, 0.0, 1.0]
    return [Change("e", "d", variant, 9, None, outcome) for outcome in outcomes]


def guarded(retained: float, latency: float, **margins: float) -> ExperimentResult:
    """Look at a treatment that wins its goal, and whose guardrails are so much of the control's."""
    rng, tally = np.random.default_rng(4), Tally()
    for variant, users, factors in (("control", CONTROL, (1.0, 1.0)), ("treatment", BETTER, (retained, latency))):
        changes = changes_in(variant, users)
        for change in changes:
            assert change.new is not None
            change.new[INDEX_OF["retention"]] = [float(rng.random() < 0.6 * factors[0]), 1.0, 0.0, 1.0]
            change.new[INDEX_OF["latency_ms"]] = [rng.gamma(4, 5 * factors[1]), 1.0, 0.0, 0.0]
        tally.add(add_up_changes(changes)[0])
    return look(tally, an_experiment(guardrails=margins), "slate")


@pytest.mark.parametrize(
    ("retained", "latency", "says", "verdict"),
    [
        (1.0, 1.0, ["holds", "holds"], "winner"),
        (0.7, 1.0, ["broken", "holds"], "running"),
        (1.0, 1.5, ["holds", "broken"], "running"),
        (0.9, 1.0, ["open", "holds"], "running"),
    ],
)
def test_a_winner_has_to_be_non_inferior_in_all_guardrails(
    retained: float, latency: float, says: list[str], verdict: str
):
    result = guarded(retained, latency, retention=-0.1, latency_ms=0.1)
    assert [guard.verdict for guard in result.variants[1].guardrails] == says
    assert conversion(result, 1).verdict == "winner"
    assert result.verdict == verdict


def test_values_are_winsorised_at_a_quantile_of_what_users_had_spent_before():
    tally, rng = Tally(), np.random.default_rng(5)
    for variant in ("control", "treatment"):
        outcomes = [[[0.0] * 4 for _ in METRICS] for _ in range(2_000)]
        for outcome in outcomes:
            outcome[INDEX_OF["value"]] = [rng.pareto(1.2), 1.0, rng.pareto(1.2), 1.0]
        tally.add(add_up_changes([Change("e", "d", variant, 5, None, outcome) for outcome in outcomes])[0])
    capped, whole = (look(tally, an_experiment(winsorise=level), "slate") for level in (0.99, 1.0))
    assert whole.value_cap is None
    assert capped.value_cap is not None
    assert 30 < capped.value_cap < 70  # the 0.99 quantile of this distribution is 45, bins are 19% wide
    value = INDEX_OF["value"]
    assert capped.variants[1].metrics[value].error < 0.5 * whole.variants[1].metrics[value].error


def test_an_experiment_whose_traffic_an_earlier_release_moved_decides_nothing_more():
    tally = tally_of(control=CONTROL, treatment=BETTER)
    tally.is_unweighted = True
    result = look(tally, an_experiment(stop=True, bandit=TrafficBounds(0.1, 0.9)), "slate")
    assert (result.verdict, result.decision, result.traffic) == ("running", None, [])
    assert result.note is not None
