"""What an experiment's sums say: values, confidence sequences, the verdict, the decision, the traffic that follows."""

from collections import Counter
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from models.experiments.assign.assignment import INTERLEAVED, dealt_shares
from models.experiments.assign.declaration import Experiment
from models.experiments.assign.traffic import planned_shares, steer
from models.experiments.judge.coverage import count_items
from models.experiments.judge.decision import asked_shares, decided, preferred, standing
from models.experiments.judge.metrics import INDEX_OF, METRICS
from models.experiments.judge.moments import Estimate, estimate
from models.experiments.judge.sequential import Interval, mismatch_p
from models.experiments.judge.sums import quantile_bin, upper_edge
from models.experiments.judge.tally import Tally
from models.experiments.judge.verdict import (
    Comparison,
    Verdict,
    compare,
    guard_verdict,
    is_mismatch,
    overall,
    verdicts_of,
)
from models.messages import (
    ExperimentResult,
    GuardrailResult,
    MetricResult,
    ResultPoint,
    VariantResult,
    VersionResult,
)
from models.names import MetricName
from models.numeric.arrays import Doubles

Bounds = tuple[float | None, float | None]

BETTER = np.array([metric.better for metric in METRICS])
UNWEIGHTED = (
    "an earlier release moved the traffic and did not weigh the users by their shares, so nothing can be decided: "
    "give the experiment another salt, and it begins anew"
)


@dataclass(frozen=True, slots=True)
class _Findings:
    """What differs between an experiment that splits its users and one that interleaves."""

    goal: MetricName
    verdict: Verdict
    better: str | None
    """The variant that the verdict prefers; None where it prefers none."""
    variants: list[VariantResult]
    lifts: dict[str, Bounds]
    """Of the goal, by treatment."""
    mismatch_p: float
    estimates: Estimate
    """(V,) of the goal."""


def look(tally: Tally, experiment: Experiment, impressions: str) -> ExperimentResult:
    """Report what the experiment's users show now; remember the look and the decision, and move the traffic.

    The first declared variant is the control. What has been decided stands, since its level holds at all looks
    together: only a mismatch is told in its place.

    Parameters
    ----------
    impressions : what counted as one (`AttributionConfig.impressions`).
    """
    cap = None if tally.is_old else quantile_bin(_spent_before(tally), experiment.analysis.winsorise)
    is_split = experiment.kind == "split"
    found = (_split if is_split else _interleaved)(tally, experiment, cap)
    judged = sum(variant.judged for variant in found.variants)
    tally.decision = decided(tally.decision, found.verdict, found.better, tally.at, judged)
    if is_split:
        planned = planned_shares(experiment)
        shares = steer(
            tally.traffic, asked_shares(tally, experiment, found.estimates, found.verdict), planned, tally.at
        )
        found.variants[:] = [replace(v, traffic=share) for v, share in zip(found.variants, shares, strict=True)]
    tally.remember(ResultPoint(tally.at, judged, found.lifts))
    analysis = experiment.analysis
    return ExperimentResult(
        experiment=experiment.name,
        digest=experiment.digest(),
        goal=found.goal,
        impressions=impressions,
        updated_at=tally.at,
        alpha=analysis.rules.alpha,
        delta=analysis.rules.delta,
        mismatch_p=found.mismatch_p,
        verdict=standing(found.verdict, tally.decision),
        decision=tally.decision,
        variants=found.variants,
        history=list(tally.points),
        traffic=list(tally.traffic),
        holdback=analysis.holdback if analysis.stop and is_split else None,
        age_s=analysis.age_ms // 1_000,
        value_cap=None if cap is None else upper_edge(cap),
        note=UNWEIGHTED if tally.is_unweighted else None,
    )


def _spent_before(tally: Tally) -> Counter[int]:
    spent: Counter[int] = Counter()
    for arm in tally.arms.values():
        for group in (arm.judged, *arm.young.values()):
            spent.update(group.spent_before)
    return spent


def _grams(tally: Tally, names: list[str], cap: int | None) -> Doubles:
    """Return the sums of variants, (V, M, 2, 5, 5)."""
    return np.moveaxis(np.stack([tally.arm(name).judged.winsorised(cap) for name in names]), 1, 2)


def _split(tally: Tally, experiment: Experiment, cap: int | None) -> _Findings:
    analysis = experiment.analysis
    names = [variant.name for variant in experiment.variants]
    sums = _grams(tally, names, cap)
    estimates = estimate(sums, sums.sum(axis=0))  # (V, M)
    counts = np.array([tally.arm(name).users for name in names], float)
    weights = tuple(variant.weight for variant in experiment.variants)
    shares = mean_shares(tally, np.array(dealt_shares(weights, experiment.coverage)))
    mismatch = is_mismatch(counts, shares, analysis.rules)
    compared = compare(estimates[1:], estimates[:1], mismatch, analysis.rules, len(names) - 1, BETTER)  # (V - 1, M)
    goal = INDEX_OF[analysis.goal]
    guardrails = [_guardrails(compared, v, analysis.guardrails) for v in range(len(names) - 1)]
    verdicts: list[Verdict] = [
        "running" if verdict == "winner" and any(guard.verdict != "holds" for guard in guards) else verdict
        for verdict, guards in zip(verdicts_of(compared[:, goal]), guardrails, strict=True)
    ]
    verdict = overall(verdicts)
    if tally.is_unweighted and verdict != "mismatch":
        verdict = "running"
    variants = [_variant(tally, names[0], _results(estimates, 0, None))]
    for v, name in enumerate(names[1:]):
        treatment = _variant(tally, name, _results(estimates, v + 1, compared[v]))
        variants.append(replace(treatment, guardrails=guardrails[v]))
    return _Findings(
        analysis.goal,
        verdict,
        preferred(verdict, names, verdicts, BETTER[goal] * estimates.mean[:, goal]),
        variants,
        {name: _bounds(compared.lift[v, goal]) for v, name in enumerate(names[1:])},
        float(mismatch_p(counts, shares)),
        estimates[:, goal],
    )


def _guardrails(compared: Comparison, v: int, margins: dict[MetricName, float]) -> list[GuardrailResult]:
    """Say of each guardrail whether it holds; all have to, so each has the level of the goal (Berger 1982)."""
    found = []
    for metric, margin in margins.items():
        bounds = compared.lift[v, INDEX_OF[metric]]
        found.append(GuardrailResult(metric, margin, _bounds(bounds), guard_verdict(bounds, margin)))
    return found


def mean_shares(tally: Tally, planned: Doubles) -> Doubles:
    """Return the shares by which the users were assigned, averaged over the users: (V,).

    Where they moved, a variant's count varies less than a multinomial of the mean shares: a sum of w (1 - w) is at most
    n times mean w (1 - mean w). So an alarm that takes the shares for fixed rings too seldom rather than too often.
    """
    expected = tally.expected(planned)
    n = expected.sum()
    return expected / n if n > 0 else planned


def _interleaved(tally: Tally, experiment: Experiment, cap: int | None) -> _Findings:
    """Compare the users' mean credit with 0; `winner` says that the second variant is preferred, `harmful` the first.

    Nobody is sorted into variants, so there is no mismatch; and no control's value to be a share of, so the bounds are
    those of the credit itself, and `no difference` is never called.
    """
    sums = _grams(tally, [INTERLEAVED], cap)
    estimates = estimate(sums, sums[0])  # (1, M)
    index = INDEX_OF["preference"]
    preferences = estimates[:, index]
    found = compare(preferences, no_preference(preferences), np.array(False), experiment.analysis.rules)  # (1,)
    [verdict], bounds = verdicts_of(found), _bounds(found.difference[0])
    metrics = _results(estimates, 0, None)
    metrics[index] = replace(metrics[index], difference=bounds, p=float(found.p[0]), verdict=verdict)
    first, second = (variant.name for variant in experiment.variants)
    return _Findings(
        "preference",
        verdict,
        {"winner": second, "harmful": first}.get(verdict),
        [replace(_variant(tally, INTERLEAVED, metrics), traffic=1.0)],
        {second: bounds},
        1.0,
        preferences,
    )


def _variant(tally: Tally, name: str, metrics: list[MetricResult]) -> VariantResult:
    arm = tally.arm(name)
    versions = [VersionResult(model, *counts) for model, counts in arm.versions.items()]
    return VariantResult(name, arm.users, count_items(arm.items), 0.0, metrics, arm.judged.users, versions=versions)


def _results(estimates: Estimate, v: int, compared: Comparison | None) -> list[MetricResult]:
    means, errors = estimates.mean[v].tolist(), np.sqrt(estimates.own_variance[v]).tolist()
    known = [
        MetricResult(metric.name, mean, _finite(error))
        for metric, mean, error in zip(METRICS, means, errors, strict=True)
    ]
    if compared is None:
        return known
    bounds = _pairs(compared.difference), _pairs(compared.lift)
    columns = zip(known, *bounds, compared.p.tolist(), verdicts_of(compared), strict=True)
    return [
        replace(metric, difference=difference, lift=lift, p=p, verdict=verdict)
        for metric, difference, lift, p, verdict in columns
    ]


def _pairs(intervals: Interval) -> list[Bounds]:
    return [
        (_finite(low), _finite(high)) for low, high in zip(intervals.low.tolist(), intervals.high.tolist(), strict=True)
    ]


def _bounds(interval: Interval) -> Bounds:
    return _finite(float(interval.low)), _finite(float(interval.high))


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def no_preference(preferences: Estimate) -> Estimate:
    """Return what the users' mean credit is compared with: 0 where neither ranking is preferred, known exactly.

    Its users are those of the preferences: the number only says where the sequence is tightest.
    """
    nothing = np.zeros_like(preferences.mean)
    return Estimate(preferences.n, nothing, nothing, nothing, preferences.time)
