"""Experiments that never happened: what a plan would find, by the rules that judge the real ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.experiments.assign.declaration import Rules
from models.experiments.judge.moments import N_VALUES, estimate
from models.experiments.judge.sequential import fixed_p
from models.experiments.judge.verdict import compare, is_mismatch
from models.numeric.arrays import Bools, Doubles

RUNS_AT_ONCE = 50
"""So many runs' sums stay in the processor's cache."""

EQUAL_SHARES = np.array([0.5, 0.5])


@dataclass(frozen=True)
class Plan:
    """An experiment with two variants on a conversion rate, looked at again and again as its users come.

    Raises
    ------
    ValueError : a number that no experiment can have.
    """

    users: int = 200_000
    """Of both variants, spread evenly over the looks."""
    looks: int = 140
    rate: float = 0.05
    """The control's conversion rate."""
    lift: float = 0.0
    """The treatment's true lift; 0.1 makes 5% to 5.5%."""
    split: float = 0.5
    """Share of the users that really get the control; planned is one half."""

    def __post_init__(self) -> None:
        if not (1 <= self.looks <= self.users):
            raise ValueError("an experiment has one look or more, and no more looks than users")
        if not (0 < self.rate < 1 and 0 < self.rate * (1 + self.lift) < 1):
            raise ValueError("both conversion rates, the control's and the lifted one, lie between 0 and 1")
        if not 0 < self.split < 1:
            raise ValueError("both variants get users: the split lies between 0 and 1")


@dataclass(frozen=True, slots=True)
class SimulatedRuns:
    """What each of R runs found."""

    users_at_verdict: Doubles
    """(R,) users when the sequence first excluded 0; infinite where it never did."""
    naive: Bools
    """(R,) whether a fixed-horizon test was significant at any look."""
    users_at_mismatch: Doubles
    """(R,) users when the sample-ratio alarm first rang; infinite where it never did."""


def simulate(plan: Plan, rules: Rules, runs: int, seed: int) -> Iterator[SimulatedRuns]:
    """Run a plan again and again, some runs at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, runs, RUNS_AT_ONCE):
        yield _simulate(plan, rules, min(RUNS_AT_ONCE, runs - start), rng)


def _simulate(plan: Plan, rules: Rules, runs: int, rng: np.random.Generator) -> SimulatedRuns:
    edges = np.linspace(0, plan.users, plan.looks + 1).astype(np.int64)
    users = edges[1:] - edges[:-1]  # (looks,)
    in_control = rng.binomial(users, plan.split, (runs, plan.looks))
    counts = np.stack([in_control, users - in_control], axis=-1)  # (R, looks, 2)
    rates = plan.rate * np.array([1.0, 1.0 + plan.lift])
    converted = rng.binomial(counts, rates).cumsum(axis=1)
    counts = counts.cumsum(axis=1)

    grams = _sums(counts, converted)  # (R, looks, 2, 5, 5)
    sums = np.stack([grams, grams], axis=-3)  # nobody's shares move, so that each counts for 1
    everybody = sums.sum(axis=2)
    control, treatment = (estimate(sums[:, :, arm], everybody) for arm in (0, 1))
    compared = compare(treatment, control, np.array(False), rules)
    broken = is_mismatch(counts.astype(float), EQUAL_SHARES, rules)
    seen = counts.sum(axis=-1)
    return SimulatedRuns(
        users_at_verdict=_first(np.isin(compared.verdict, ("winner", "harmful")), seen),
        naive=np.any(fixed_p(treatment, control) < rules.alpha, axis=1),
        users_at_mismatch=_first(broken, seen),
    )


def _sums(counts: Doubles, converted: Doubles) -> Doubles:
    """Return what `gram` of all users adds up to: a user's values are (converted or not, 1, 0, 0)."""
    sums = np.zeros((*counts.shape, N_VALUES + 1, N_VALUES + 1))
    for row, column in ((0, 0), (0, 2), (2, 0), (2, 2)):
        sums[..., row, column] = counts
    for row, column in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1)):
        sums[..., row, column] = converted
    return sums


def _first(happened: Bools, users: Doubles) -> Doubles:
    """Return the users at the first look at which it had happened: (R, looks) to (R,), infinite for never."""
    return np.asarray(np.where(happened, users, np.inf).min(axis=1))
