"""Notices that a ranker's progressive loss has risen and stays up: the stream has changed."""

from typing import Any, TypeAlias

from river import drift, stats

DriftState: TypeAlias = tuple[int, float, float, float, float, float]


class LossDrift:
    """River's Page-Hinkley test on the losses, for a rise.

    References
    ----------
    E. S. Page. Continuous inspection schemes. Biometrika 1954.

    Parameters
    ----------
    threshold : sum by which losses must have exceeded their mean to be a change.
    """

    def __init__(self, threshold: float = 30.0, state: DriftState | None = None) -> None:
        self._test: Any = drift.PageHinkley(min_instances=100, delta=0.01, threshold=threshold, mode="up")
        if state is not None:
            test: Any = self._test
            test._x_mean = stats.Mean._from_state(*state[:2])  # noqa: SLF001
            test._sum_increase, test._sum_decrease, test._min_increase, test._max_decrease = state[2:]  # noqa: SLF001

    def update(self, loss: float) -> bool:
        """Take a loss; say whether the stream has changed. A change resets the test."""
        self._test.update(loss)
        changed = bool(self._test.drift_detected)
        if changed:
            self._test._reset()  # noqa: SLF001 - River would reset only at the next loss, after a snapshot
        return changed

    @property
    def state(self) -> DriftState:
        """What `__init__` takes to go on from here."""
        test, mean = self._test, self._test._x_mean  # noqa: SLF001
        return (
            int(mean.n),
            float(mean.get()),
            float(test._sum_increase),  # noqa: SLF001
            float(test._sum_decrease),  # noqa: SLF001
            float(test._min_increase),  # noqa: SLF001
            float(test._max_decrease),  # noqa: SLF001
        )
