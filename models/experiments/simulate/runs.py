"""Whole experiments that never happened: users come, shares move, outcomes mature, and somebody looks.

Only the users are made up. The sums, looks, decisions and shares are those of the flow: `Tally`, `look` and `Traffic`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.experiments.assign.declaration import Experiment
from models.experiments.assign.traffic import Traffic, planned_shares, weight_of
from models.experiments.judge.metrics import INDEX_OF
from models.experiments.judge.moments import estimate
from models.experiments.judge.observations import Exposure
from models.experiments.judge.results import look
from models.experiments.judge.sequential import fixed_p
from models.experiments.judge.sums import SHAPE, Sums
from models.experiments.judge.tally import ArmDelta, Tally, TallyDelta
from models.experiments.judge.verdict import compare
from models.experiments.simulate.population import Part, Population
from models.experiments.simulate.scenario import LOOK_MS, Scenario
from models.messages import ExperimentResult
from models.numeric.arrays import Doubles

CALLED = ("winner", "harmful")


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """What one experiment found."""

    is_called: bool
    """Whether a treatment was called a winner or harmful, at any look."""
    is_right: bool
    """Whether the decision is for the last variant."""
    naive: bool
    """Whether a fixed-horizon test of pooled users was significant at any look."""
    pooled: bool
    """Whether the confidence sequence of pooled users, who are not weighted, ever excluded 0."""
    fell_back: bool
    """Whether a decision was taken back, or traffic moved after a stop."""
    moves: int
    """Of the traffic."""
    users_at_decision: float
    """Infinite without one."""
    lift: float
    """Middle of the last bounds of the last variant's lift; nan where they were not known."""


def simulate_scenario(scenario: Scenario, runs: int, seed: int) -> Iterator[SimulatedRun]:
    """Run a scenario again and again."""
    for child in np.random.SeedSequence(seed).spawn(runs):
        yield _run(scenario, np.random.default_rng(child))


def _run(scenario: Scenario, rng: np.random.Generator) -> SimulatedRun:
    experiment, tally = scenario.experiment, Tally()
    traffic, digest = Traffic([experiment]), experiment.digest()
    population = Population(scenario, rng)
    arrivals = np.diff(np.linspace(0, scenario.users, scenario.looks + 1).astype(np.int64)).tolist()
    goal = INDEX_OF[experiment.analysis.goal]
    pooled: list[Doubles] = []
    result: ExperimentResult | None = None
    is_called = fell_back = False
    for number in range(population.looks):
        at = (number + 1) * LOOK_MS
        came_at = at - LOOK_MS // 2
        shares = traffic.in_force(digest, came_at)
        n_new = arrivals[number] if number < len(arrivals) else 0
        exposures = _exposures(experiment, digest, came_at, shares)
        grams = population.at(number, rng.multinomial(n_new, shares or planned_shares(experiment)), exposures)
        moved = np.zeros(0) if shares is None else n_new * np.array(shares)
        tally.add(TallyDelta(experiment.name, digest, at, 1, _arms(experiment, grams), moved))
        before, result = result, look(tally, experiment, "slate")
        traffic.take(result)
        is_called = is_called or _is_called(result, goal)
        fell_back = fell_back or (before is not None and _fell_back(before, result))
        pooled.append(np.stack([sum((gram[goal] for gram, _, _ in arm), np.zeros(SHAPE[2:])) for arm in grams]))
    naive, sequence = _pooled(np.cumsum(pooled, axis=0), experiment)
    decision, last = tally.decision, experiment.variants[-1].name
    is_decided = decision is not None and decision.verdict in CALLED
    low, high = tally.points[-1].lifts[last]
    return SimulatedRun(
        is_called,
        decision is not None and decision.variant == last,
        naive,
        sequence,
        fell_back,
        len(tally.traffic),
        float(decision.users) if decision is not None and is_decided else np.inf,
        np.nan if low is None or high is None else (low + high) / 2,
    )


def _exposures(experiment: Experiment, digest: str, at: int, shares: tuple[float, ...] | None) -> list[Exposure]:
    """Expose the users of a look: one for all of a variant."""
    planned = planned_shares(experiment)
    return [
        Exposure(
            at, experiment.name, digest, variant.name, shares,
            1.0 if shares is None else weight_of(planned, shares, v), experiment.analysis.age_ms,
        )
        for v, variant in enumerate(experiment.variants)
    ]  # fmt: skip


def _arms(experiment: Experiment, grams: list[list[Part]]) -> dict[str, ArmDelta]:
    """Weigh what the users of each exposure did, as `add_up_changes` does."""
    arms = {}
    for variant, parts in zip(experiment.variants, grams, strict=True):
        sums: dict[int, Sums] = {}
        for gram, users, exposed in parts:
            weighted = np.array([exposed.weight * gram, exposed.weight**2 * gram])
            sums.setdefault(exposed.due_at, Sums()).add(Sums(users, weighted))
        arms[variant.name] = ArmDelta(sums, np.zeros(0, np.int64), {})
    return arms


def _is_called(result: ExperimentResult, goal: int) -> bool:
    if result.verdict in CALLED:
        return True
    has_guardrails = any(variant.guardrails for variant in result.variants)
    return not has_guardrails and any(variant.metrics[goal].verdict in CALLED for variant in result.variants[1:])


def _fell_back(before: ExperimentResult, now: ExperimentResult) -> bool:
    """Tell whether a later look took back what had been decided, or moved traffic that was stopped."""
    if before.decision is None or before.decision.verdict not in CALLED:
        return False
    return now.verdict != before.verdict or (now.holdback is not None and now.traffic != before.traffic)


def _pooled(sums: Doubles, experiment: Experiment) -> tuple[bool, bool]:
    """Judge pooled users, (looks, V, 5, 5), by a naive test and by a sequence, as if nobody's shares had moved."""
    both = np.stack([sums, sums], axis=2)  # (looks, V, 2, 5, 5)
    arms = estimate(both, both.sum(axis=1, keepdims=True))
    rules, n_treatments = experiment.analysis.rules, len(experiment.variants) - 1
    found = compare(arms[:, 1:], arms[:, :1], np.array(False), rules, n_treatments)
    is_enough = (arms.n.min(axis=1) >= rules.min_users)[:, None]
    naive = (fixed_p(arms[:, 1:], arms[:, :1]) < rules.alpha) & is_enough
    return bool(naive.any()), bool(np.isin(found.verdict, CALLED).any())
