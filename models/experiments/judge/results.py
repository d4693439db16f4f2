"""What an experiment's sums say: values, confidence sequences, the verdict and the traffic shares that follow."""

from dataclasses import dataclass, replace

import numpy as np

from models.experiments.assign.assignment import INTERLEAVED
from models.experiments.assign.declaration import Experiment
from models.experiments.assign.traffic import planned_shares, steer
from models.experiments.judge.bandit import probability_best, within_bounds
from models.experiments.judge.coverage import count_items
from models.experiments.judge.metrics import INDEX_OF, METRICS, Metric
from models.experiments.judge.moments import Estimate, estimate
from models.experiments.judge.sequential import Interval, mismatch_p
from models.experiments.judge.tally import Tally
from models.experiments.judge.verdict import Comparison, Verdict, compare, is_mismatch, verdict_of
from models.messages import Decision, ExperimentResult, MetricResult, ResultPoint, VariantResult
from models.names import MetricName
from models.numeric.arrays import Bools, Doubles
from models.numeric.ids import hash64

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class _Findings:
    """What differs between an experiment that splits its users and one that interleaves."""

    goal: MetricName
    verdict: Verdict
    variants: list[VariantResult]
    lifts: dict[str, Bounds]
    """Of the goal, by treatment."""
    mismatch_p: float


def look(tally: Tally, experiment: Experiment, impressions: str) -> ExperimentResult:
    """Report what the experiment's users show now; remember the look and the first decision in the tally.

    The first declared variant is the control.

    Parameters
    ----------
    impressions : what counted as one (`AttributionConfig.impressions`).
    """
    found = (_split if experiment.kind == "split" else _interleaved)(tally, experiment)
    users = sum(variant.users for variant in found.variants)
    if tally.decision is None and found.verdict != "running":
        tally.decision = Decision(found.verdict, tally.at, users)
    tally.remember(ResultPoint(tally.at, users, found.lifts))
    rules = experiment.analysis.rules
    return ExperimentResult(
        experiment=experiment.name,
        digest=experiment.digest(),
        goal=found.goal,
        impressions=impressions,
        updated_at=tally.at,
        alpha=rules.alpha,
        delta=rules.delta,
        mismatch_p=found.mismatch_p,
        verdict=found.verdict,
        decision=tally.decision,
        variants=found.variants,
        history=list(tally.points),
        traffic=list(tally.traffic),
    )


def _split(tally: Tally, experiment: Experiment) -> _Findings:
    analysis = experiment.analysis
    names = [variant.name for variant in experiment.variants]
    planned = planned_shares(experiment)
    sums = np.stack([tally.arm(name).sums for name in names])  # (V, M, 5, 5)
    estimates = estimate(sums, sums.sum(axis=0))  # (V, M)
    counts = sums[:, 0, 0, 0]
    shares = mean_shares(tally, np.array(planned))
    mismatch = is_mismatch(counts, shares, analysis.rules)
    goal = INDEX_OF[analysis.goal]
    compared = [
        [_compare(estimates, v, metric, mismatch, experiment) for metric in METRICS] for v in range(1, len(names))
    ]  # (V - 1, M)
    verdicts = [verdict_of(row[goal]) for row in compared]
    asked = traffic_of(experiment, estimates[:, goal], verdicts, np.array(planned))
    traffic = steer(tally.traffic, tuple(asked.tolist()), planned, tally.at)
    return _Findings(
        analysis.goal,
        overall(verdicts),
        [
            _variant(tally, name, traffic[v], _results(estimates, v, compared[v - 1] if v else None))
            for v, name in enumerate(names)
        ],
        {name: _bounds(row[goal].lift) for name, row in zip(names[1:], compared, strict=True)},
        float(mismatch_p(counts, shares)),
    )


def mean_shares(tally: Tally, planned: Doubles) -> Doubles:
    """Return the shares by which the users were assigned, averaged over the users: (V,).

    Where they moved, a variant's count varies less than a multinomial of the mean shares: a sum of w (1 - w) is at most
    n times mean w (1 - mean w). So an alarm that takes the shares for fixed rings too seldom rather than too often.
    """
    expected = tally.expected(planned)
    n = expected.sum()
    return expected / n if n > 0 else planned


def _interleaved(tally: Tally, experiment: Experiment) -> _Findings:
    """Compare the users' mean credit with 0; `winner` says that the second variant is preferred, `harmful` the first.

    Nobody is sorted into variants, so there is no mismatch; and no control's value to be a share of, so the bounds are
    those of the credit itself, and `no difference` is never called.
    """
    sums = tally.arm(INTERLEAVED).sums  # (M, 5, 5)
    estimates = estimate(sums[None], sums)  # (1, M)
    index = INDEX_OF["preference"]
    preferences = estimates[0, index]
    found = compare(preferences, no_preference(preferences), np.array(False), experiment.analysis.rules)
    verdict, bounds = verdict_of(found), _bounds(found.difference)
    metrics = _results(estimates, 0, None)
    metrics[index] = replace(metrics[index], difference=bounds, p=float(found.p), verdict=verdict)
    return _Findings(
        "preference",
        verdict,
        [_variant(tally, INTERLEAVED, 1.0, metrics)],
        {experiment.variants[1].name: bounds},
        1.0,
    )


def _variant(tally: Tally, name: str, traffic: float, metrics: list[MetricResult]) -> VariantResult:
    arm = tally.arm(name)
    return VariantResult(name, arm.users, count_items(arm.items), traffic, metrics)


def overall(verdicts: list[Verdict]) -> Verdict:
    """Join the treatments' verdicts: one winner is enough to win, for the rest all have to agree."""
    for decisive in ("mismatch", "winner"):
        if decisive in verdicts:
            return decisive
    return verdicts[0] if len(set(verdicts)) == 1 else "running"


def traffic_of(experiment: Experiment, goal: Estimate, verdicts: list[Verdict], shares: Doubles) -> Doubles:
    """Return which share of the users each variant should get: (V,).

    Parameters
    ----------
    goal : (V,) estimates of the metric that decides.
    verdicts : of the treatments.
    shares : (V,) as planned.
    """
    analysis = experiment.analysis
    better = METRICS[INDEX_OF[analysis.goal]].better
    verdict = overall(verdicts)
    if verdict == "mismatch":
        return shares  # nobody should act on these figures
    if analysis.stop and verdict in ("winner", "harmful"):
        allowed = np.array([verdict == "harmful", *(treatment == "winner" for treatment in verdicts)])
        best = np.where(allowed, better * goal.mean, -np.inf).argmax()
        return np.asarray(np.arange(len(shares)) == best, float)
    enough = goal.n.min() >= analysis.rules.min_users
    if analysis.bandit is not None and enough:
        seed = hash64(f"{experiment.name}/{int(goal.n.sum())}")
        return within_bounds(probability_best(goal, seed, better), analysis.bandit.low, analysis.bandit.high)
    return shares


def _compare(estimates: Estimate, v: int, metric: Metric, mismatch: Bools, experiment: Experiment) -> Comparison:
    m = INDEX_OF[metric.name]
    n_treatments = len(experiment.variants) - 1
    return compare(estimates[v, m], estimates[0, m], mismatch, experiment.analysis.rules, n_treatments, metric.better)


def _results(estimates: Estimate, v: int, compared: list[Comparison] | None) -> list[MetricResult]:
    results = []
    for m, metric in enumerate(METRICS):
        known = metric.name, float(estimates.mean[v, m]), _finite(np.sqrt(estimates.variance[v, m]))
        if compared is None:
            results.append(MetricResult(*known))
        else:
            found = compared[m]
            bounds = _bounds(found.difference), _bounds(found.lift)
            results.append(MetricResult(*known, *bounds, float(found.p), verdict_of(found)))
    return results


def _bounds(interval: Interval) -> Bounds:
    return _finite(interval.low), _finite(interval.high)


def _finite(value: Doubles) -> float | None:
    return float(value) if np.isfinite(value) else None


def no_preference(preferences: Estimate) -> Estimate:
    """Return what the users' mean credit is compared with: 0 where neither ranking is preferred, known exactly.

    Its users are those of the preferences: the number only says where the sequence is tightest.
    """
    nothing = np.zeros_like(preferences.mean)
    return Estimate(preferences.n, nothing, nothing)
