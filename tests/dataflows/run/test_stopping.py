import threading
from pathlib import Path

import pytest

from dataflows.errors import EddyError, FencedError, died
from dataflows.run.stopping import Owner, Pauses, Stop, Watchdog, disown_others


class Clock:
    def __init__(self) -> None:
        self.now = 64.0

    def __call__(self) -> float:
        return self.now


def test_a_store_belongs_to_whoever_started_on_it_last(tmp_path: Path):
    first = Owner(tmp_path / "store" / "owner-0")
    first.check()
    second = Owner(tmp_path / "store" / "owner-0")
    second.check()
    with pytest.raises(FencedError, match="fenced"):
        first.check()


def test_the_processes_of_one_flow_own_their_store_side_by_side(tmp_path: Path):
    owners = [Owner(tmp_path / f"owner-{number}") for number in range(2)]
    for owner in owners:
        owner.check()


def test_a_token_that_is_gone_is_an_error_and_no_licence_to_write(tmp_path: Path):
    owner = Owner(tmp_path / "owner-0")
    (tmp_path / "owner-0").unlink()
    with pytest.raises(EddyError, match="owner-0"):
        owner.check()


def test_a_smaller_cluster_takes_the_store_from_those_who_are_no_part_of_it_any_more(tmp_path: Path):
    owners = [Owner(tmp_path / f"owner-{number}") for number in range(3)]
    disown_others(tmp_path, 2)
    owners[0].check()
    owners[1].check()
    with pytest.raises(EddyError, match="owner-2"):
        owners[2].check()


def test_a_pause_right_after_a_snapshot_was_asked_for_is_the_snapshots():
    told: list[float] = []
    pauses = Pauses(on_snapshot=told.append)
    pauses.add(10.0, 10.4)
    pauses.begin_snapshot(20.0)
    pauses.add(20.1, 23.1)
    pauses.add(23.1, 23.3)
    assert [round(seconds, 3) for seconds in told] == [3.0]
    assert (round(pauses.working_s, 3), round(pauses.snapshot_s, 3)) == (0.4, 3.0)


def test_a_pause_is_the_time_between_two_looks_of_any_source():
    stop = Stop()
    stop()
    assert (stop.pauses.working_s, stop.pauses.snapshot_s) == (0, 0)
    stop()
    assert 0 < stop.pauses.working_s < 60
    assert stop.pauses.snapshot_s == 0


def test_sources_look_once_a_second_and_always_before_a_snapshot(tmp_path: Path):
    clock = Clock()
    stop = Stop(owner=Owner(tmp_path / "owner-0", clock))
    Owner(tmp_path / "owner-0")
    clock.now += 0.9
    assert stop() is False
    with pytest.raises(FencedError):
        stop.before_snapshot()
    clock.now += 0.1
    with pytest.raises(FencedError):
        stop()


def test_without_a_store_nobody_is_fenced():
    stop = Stop()
    stop.before_snapshot()
    assert stop() is False


def test_a_flow_that_stands_still_is_ended_with_what_its_threads_were_at(capfd: pytest.CaptureFixture[str]):
    stop, codes, ended = Stop(), list[int](), threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    stop()
    with Watchdog(stop, 0.05, end):
        assert ended.wait(30)
    assert codes == [Watchdog.EXIT_CODE]
    assert "test_a_flow_that_stands_still" in capfd.readouterr().err


def test_a_flow_that_does_not_read_yet_may_take_its_time():
    codes: list[int] = []
    with Watchdog(Stop(), 0.01, codes.append):
        threading.Event().wait(0.2)
    assert codes == []


def test_a_limit_of_0_watches_nothing():
    stop, codes = Stop(), list[int]()
    stop()
    with Watchdog(stop, 0, codes.append):
        threading.Event().wait(0.2)
    assert codes == []


def test_the_death_of_any_thread_ends_the_flow_at_its_next_look_with_a_message(monkeypatch: pytest.MonkeyPatch):
    """Tables that nobody follows any more serve on, stale, and nobody sees it."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    stop = Stop()
    stop.on_dead_threads()
    assert stop() is False

    def die() -> None:
        raise RecursionError("too deep")

    thread = threading.Thread(target=die, name="tables")
    thread.start()
    thread.join()
    for _ in range(2):
        with pytest.raises(EddyError, match=r"the thread `tables` has died, .* RecursionError: too deep"):
            stop()


def test_the_first_failure_of_a_helper_is_the_one_that_is_told():
    stop = Stop()
    for name in ("results", "tables"):
        stop.fail(died(name, EddyError(f"{name}: cannot be read")))
    with pytest.raises(EddyError, match="results: cannot be read"):
        stop()


def test_what_a_helper_has_found_stops_the_flow_with_nothing_snapshot():
    stop = Stop()
    stop.fail(EddyError("the first"))
    stop.fail(EddyError("the second"))
    for look in (stop, stop.before_snapshot, stop.raise_failure):
        with pytest.raises(EddyError, match="the first"):
            look()
