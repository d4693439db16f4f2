"""A fault notices what a flow does wrong at once; made up here with processes that only remember their signals."""

import random
import signal
from collections.abc import Callable
from typing import Any

import pytest

from dataflows.chaos import faults
from dataflows.chaos.faults import FAULTS, Fault, strike
from dataflows.errors import EddyError

KILL, TERM, CONT = signal.SIGKILL, signal.SIGTERM, signal.SIGCONT


class FakeProcess:
    """Ends with the code that it is told to end with by a signal."""

    def __init__(self, codes: dict[int, int]) -> None:
        self.code: int | None = None
        self._codes = {int(KILL): -KILL, int(TERM): 0} | codes

    def send(self, number: signal.Signals) -> None:
        if self.code is None:
            self.code = self._codes.get(number)

    def wait(self, _timeout_s: float = 0.0) -> int:
        return -KILL if self.code is None else self.code

    def last_words(self) -> str:
        return "the log's end"


class FakeCopies:
    """Starts processes: the n-th start takes the n-th entry of `starts`, each later one the last."""

    flow = "recommend"

    def __init__(self, *starts: list[dict[int, int]]) -> None:
        self._starts = list(starts)
        self.processes: list[FakeProcess] = []
        self.n_starts = 0
        self.start()

    def start(self) -> None:
        self.processes = [FakeProcess(codes) for codes in self._starts[min(self.n_starts, len(self._starts) - 1)]]
        self.n_starts += 1

    def wait_until_ready(self) -> None:
        self.check()

    def has_begun(self) -> bool:
        return True

    def check(self) -> None:
        assert all(process.code is None for process in self.processes)

    def end(self, number: signal.Signals = TERM) -> list[int]:
        for process in self.processes:
            process.send(number)
        return [process.wait() for process in self.processes]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**9))
    monkeypatch.setattr(faults.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(faults.time, "monotonic", lambda: next(now))


def fault(name: str) -> Callable[[Any], None]:
    [one] = [each for each in FAULTS if each.name == name]
    return lambda copies: one.strike(copies, random.Random(0))  # noqa: S311 - no secret is made of it


@pytest.mark.parametrize("one", FAULTS, ids=lambda one: one.name)
def test_a_fault_leaves_a_flow_that_is_stopped(one: Fault) -> None:
    copies: Any = FakeCopies([{CONT: 1}])
    one.strike(copies, random.Random(0))  # noqa: S311 - no secret is made of it
    assert all(process.code is not None for process in copies.processes)


def test_each_fault_is_made_once_before_any_is_made_again_and_the_flow_runs_at_the_end() -> None:
    copies: Any = FakeCopies([{CONT: 1}])
    said: list[str] = []
    rng, written = random.Random(0), iter(range(10**9))  # noqa: S311 - no secret is made of it
    done = strike([copies], FAULTS[:4], 8, rng, lambda _flow: next(written), lambda what, _n: said.append(what))
    assert [what.partition(": ")[2] for what in said[:4]] == [each.name for each in FAULTS[:4]]
    assert done.total() >= 8
    copies.check()


def test_a_stop_that_is_no_clean_one_is_an_error() -> None:
    with pytest.raises(EddyError, match=r"did not drain: exit codes \[1\]\nthe log's end"):
        fault("term")(FakeCopies([{TERM: 1}]))


def test_a_frozen_copy_that_goes_on_as_if_it_had_not_been_replaced_is_an_error() -> None:
    with pytest.raises(EddyError, match="two copies have run side by side"):
        fault("freeze with a successor")(FakeCopies([{}]))


def test_a_frozen_copy_that_drains_as_if_it_had_not_been_replaced_is_an_error() -> None:
    with pytest.raises(EddyError, match="as if it had drained"):
        fault("freeze with a successor")(FakeCopies([{CONT: 0}], [{}]))


def test_a_cluster_whose_other_process_hangs_is_an_error() -> None:
    with pytest.raises(EddyError, match="not by themselves"):
        fault("kill one process")(FakeCopies([{}, {}]))


def test_a_flow_that_writes_nothing_is_an_error() -> None:
    copies: Any = FakeCopies([{}])
    with pytest.raises(EddyError, match="recommend has written nothing"):
        strike([copies], FAULTS, 1, random.Random(0), lambda _flow: 7, lambda _what, _n: None)  # noqa: S311
