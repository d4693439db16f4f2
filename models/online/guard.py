"""The guard: says which of two rankers is better, from slates that both were judged on, at any look.

A test for one look promises nothing of fifty: at one standard error, six of fifty looks at equal rankers found one of
them better. So the guard bounds the sum of the paired differences at all looks together, and adds it up by user: the
slates of one user resemble each other, and say less than as many slates of different users.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from models.config import OnlineConfig
from models.numeric.anytime import reach
from models.numeric.arrays import Bools, Doubles, Int64s
from models.online.judging import Judgement

MAX_DOUBLINGS = 4
"""A test lasts at most 2 ** this times as many slates as the first."""

RankerRole: TypeAlias = Literal["learner", "service", "previous"]
_WITHOUT_PREVIOUS: tuple[RankerRole, ...] = "learner", "service"


class Judged(NamedTuple):
    """The gains on one slate of the learner, before it learned from the slate, and of the two versions."""

    user: int
    learner: float
    service: float
    previous: float
    """NaN where there is none."""
    learner_variance: float = 0.0
    """What chance adds to its difference from the version in service, by their own chances; 0 where they state none."""
    previous_variance: float = 0.0
    acted: bool = True
    """Whether the user did anything with the slate."""


def judged(users: Sequence[int], found: Judgement) -> list[Judged]:
    """Lay out, slate by slate, how good the learner and the versions are; the one before may be missing."""
    gains, variances, acted = found
    if len(gains) == len(_WITHOUT_PREVIOUS):
        gains = np.vstack([gains, np.full(len(users), np.nan)])
        variances = np.vstack([variances, np.zeros(len(users))])
    columns = [*gains.tolist(), variances[0].tolist(), variances[2].tolist(), acted.tolist()]
    return list(map(Judged, users, *columns))


class Guard:
    """Tests whether the learner, or the version before it, is better than the version in service.

    A ranker that learns is another one after a while, and so are its users. So a test ends after some slates, and the
    next one begins with nothing: test k, from 0, at the level alpha / ((k + 1) (k + 2)), which add up to alpha. For
    two rankers that are equal the probability that any of the tests ever finds one better is alpha at most.

    The sum S of the differences d, of which user u's add up to D_u, is compared with sqrt(sum D_u ** 2). How far it may
    stray depends on how much has been seen; in units of one slate's sum(d ** 2) / n, that is sum D_u ** 2.

    Where a click or a purchase is rare, the slates until the first one agree: whoever said less has gained a little on
    each. That is not how far the sum may stray, so its square counts for no less than the chances themselves say
    (`funnel_learner.chance_variances`). And acts may bunch, when few act on many items: that shows only once some have.
    So only slates on which somebody acted count towards those that a decision needs.

    Parameters
    ----------
    judged : of the running test.
    n_tests : ended since the version went into service.
    """

    def __init__(self, config: OnlineConfig, judged: Iterable[Judged] = (), n_tests: int = 0) -> None:
        self._config = config
        self.judged = deque(judged)
        self.n_tests = n_tests

    def add(self, judged: Iterable[Judged]) -> None:
        """Take slates that the learner has yet to learn from."""
        self.judged.extend(judged)

    def is_better(self, one: RankerRole) -> bool:
        """Say whether a ranker is better than the one in service; it may be asked at any time."""
        users, differences, by_chance, acted = self._differences(one)
        if np.count_nonzero(differences[acted]) < self._config.min_judged:
            return False
        _, codes = np.unique(users, return_inverse=True)
        found = float((differences**2).sum())
        least = max(float(by_chance.sum()) / found, 1.0)
        squares = float((np.bincount(codes, differences) ** 2).sum()) * least
        # The two claims, that the learner is better and that the version before is, share the level.
        alpha = self._config.alpha / 2 / ((self.n_tests + 1) * (self.n_tests + 2))
        seen = squares / (found * least / len(differences))
        # A bound on one side at alpha is one of two sides at twice that.
        bound = float(reach(seen, 2 * alpha, self._config.guard_slates)) * np.sqrt(squares)
        return bool(differences.sum() > bound)

    def mean(self, one: RankerRole) -> float:
        """Return the mean gain of a ranker on the slates of the running test."""
        return float(np.mean([getattr(slate, one) for slate in self.judged]))

    def end_look(self) -> None:
        """End a test that has lasted long enough; called once all that may be asked at a look was."""
        if len(self.judged) >= self._config.guard_slates * 2 ** min(self.n_tests, MAX_DOUBLINGS):
            self.start_over()

    def start_over(self) -> None:
        """End the running test: what it was about is no more, or it has lasted long enough."""
        self.judged.clear()
        self.n_tests += 1

    def forget(self, is_erased: Callable[[int], bool]) -> None:
        """Take away what was judged on slates of erased users, by the users' hashes."""
        self.judged = deque(slate for slate in self.judged if not is_erased(slate.user))

    def reset(self) -> None:
        """Begin anew: another version is in service."""
        self.judged.clear()
        self.n_tests = 0

    def _differences(self, one: RankerRole) -> tuple[Int64s, Doubles, Doubles, Bools]:
        """Return each slate's user, how much better a ranker was, its variance by chance, and whether anybody acted."""
        columns = zip(*self.judged, strict=True) if self.judged else [()] * len(Judged._fields)
        by_name = {name: np.array(column) for name, column in zip(Judged._fields, columns, strict=True)}
        differences = by_name[one].astype(np.float64) - by_name["service"].astype(np.float64)
        by_chance = by_name[f"{one}_variance"].astype(np.float64)
        users, acted = by_name["user"].astype(np.int64), by_name["acted"].astype(np.bool_)
        return users, np.nan_to_num(differences), np.nan_to_num(by_chance), acted
