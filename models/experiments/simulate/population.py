"""Users of simulated experiments, who do what their scenario says."""

from typing import NamedTuple

import numpy as np

from models.experiments.judge.metrics import INDEX_OF
from models.experiments.judge.moments import N_VALUES
from models.experiments.judge.observations import N_GROUPS, Exposure
from models.experiments.judge.sums import SHAPE
from models.experiments.simulate.scenario import DRIFT, MARGINS, MATURING, Scenario
from models.numeric.arrays import Doubles, Int64s

RETENTION, LATENCY_MS = 0.4, 20.0
"""Of the control."""
N_SLATES = 5
"""Of a user, each with its latency."""
CONCENTRATION = 10.0
"""Of the beta distribution of the users' click rates."""


class Part(NamedTuple):
    """What users of one exposure add to the sums."""

    gram: Doubles
    """(M, 5, 5)"""
    users: int
    """Who are new."""
    exposed: Exposure


class Population:
    """The users of one run, look by look."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self._scenario, self._rng = scenario, rng
        self._matures = scenario.name == "mature"
        waiting = MATURING + MATURING // N_GROUPS + 1
        self.looks = scenario.looks + (waiting if self._matures else 0)
        """Until the last user is judged."""
        self._lifts = np.zeros(scenario.variants)
        self._lifts[-1] = scenario.lift
        self._to_come: list[tuple[list[Exposure], Int64s]] = []
        """Of each look: its exposures, and (V, MATURING) conversions by the looks that they take."""

    def at(self, number: int, users: Int64s, exposures: list[Exposure]) -> list[list[Part]]:
        """Let users come, and all do what they do until a look: parts by variant.

        Parameters
        ----------
        number : of the look, from 0.
        users : (V,) who come.
        exposures : (V,) theirs.
        """
        scenario = self._scenario
        risen = 1 + DRIFT * number / max(scenario.looks - 1, 1) if scenario.drifts else 1.0
        rates = scenario.rate * risen * (1 + self._lifts)
        if scenario.name == "ratio":
            grams = [self._clicks(int(n), rate) for n, rate in zip(users, rates, strict=True)]
        elif self._matures:
            return self._maturing(number, users, rates, exposures)
        else:
            grams = [self._conversions(int(n), rate) for n, rate in zip(users, rates, strict=True)]
        if scenario.name == "guardrail":
            for v, (gram, n) in enumerate(zip(grams, users, strict=True)):
                self._guard(gram, int(n), scenario.harm if v == scenario.variants - 1 else 0.0)
        return [[Part(gram, int(n), exposed)] for gram, n, exposed in zip(grams, users, exposures, strict=True)]

    def _conversions(self, n: int, rate: float) -> Doubles:
        grams = _of_idle_users(n)
        grams[INDEX_OF["conversion"]] += _converted(self._rng.binomial(n, rate))
        return grams

    def _clicks(self, n: int, rate: float) -> Doubles:
        """Let users, who differ, click on what they are shown, and have done so before."""
        rng = self._rng
        base = self._scenario.rate
        own = rng.beta(base * CONCENTRATION, (1 - base) * CONCENTRATION, n)
        shown, shown_before = 1 + rng.poisson(9, n), 1 + rng.poisson(9, n)
        values = np.ones((n, N_VALUES + 1))
        values[:, 1], values[:, 2] = rng.binomial(shown, np.minimum(own * rate / base, 1.0)), shown
        values[:, 3], values[:, 4] = rng.binomial(shown_before, own), shown_before
        if not self._scenario.cuped:
            values[:, 3:] = 0
        grams = _of_idle_users(n)
        grams[INDEX_OF["ctr"]] = values.T @ values
        return grams

    def _maturing(self, number: int, users: Int64s, rates: Doubles, exposures: list[Exposure]) -> list[list[Part]]:
        """Let the conversions of the users who come be spread over the looks to come; take in those that are due."""
        rng = self._rng
        delays = rng.multinomial(rng.binomial(users, rates), np.full(MATURING, 1 / MATURING))  # (V, MATURING)
        self._to_come.append((exposures, delays))
        parts = [[Part(_of_idle_users(int(n)), int(n), exposed)] for n, exposed in zip(users, exposures, strict=True)]
        for past in range(max(number - MATURING + 1, 0), number + 1):
            earlier, to_come = self._to_come[past]
            for v, converted in enumerate(to_come[:, number - past].tolist()):
                gram = np.zeros(SHAPE[1:])
                gram[INDEX_OF["conversion"]] = _converted(converted)
                parts[v].append(Part(gram, 0, earlier[v]))
        return parts

    def _guard(self, grams: Doubles, n: int, harm: float) -> None:
        """Let users wait for their slates and come back, worse than the control's by a share of the margins."""
        rng = self._rng
        mean = LATENCY_MS * (1 + harm * MARGINS["latency_ms"])
        values = np.ones((n, N_VALUES + 1))
        values[:, 1] = rng.gamma(N_SLATES, mean, n)  # the sum of so many exponential times
        values[:, 2], values[:, 3:] = N_SLATES, 0
        grams[INDEX_OF["latency_ms"]] = values.T @ values
        returned = rng.binomial(n, RETENTION * (1 + harm * MARGINS["retention"]))
        grams[INDEX_OF["retention"]] += _converted(returned)


def _of_idle_users(n: int) -> Doubles:
    """Return the grams (M, 5, 5) of users who have done nothing; the metrics' denominators count them."""
    one = np.zeros(SHAPE[1:])
    one[:, 0, 0] = one[:, 0, 2] = one[:, 2, 0] = one[:, 2, 2] = n
    return one


def _converted(n: int) -> Doubles:
    """Return what (5, 5) changes where users convert: their value turns from 0 to 1, beside a denominator of 1."""
    changed = np.zeros((N_VALUES + 1, N_VALUES + 1))
    for row, column in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1)):
        changed[row, column] = n
    return changed
