"""Stores that move: a flow on another number of processes, and one that goes on from a backup."""

import signal
from pathlib import Path

import pytest

from dataflows.chaos.audit import audit
from dataflows.chaos.event_writer import EventWriter, Written
from dataflows.chaos.installation import Installation
from dataflows.chaos.run import drawn_acts
from dataflows.kafka.reader import scan
from dataflows.store.backup import back_up, restore
from tests.kafka.flows import Platform

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Moving:
    """`recommend` on a broker, and a platform that writes events all the while."""

    def __init__(self, broker: str, folder: Path) -> None:
        self._here = Installation.make(broker, folder, 4, {"EDDY_RECOVERY__EPOCH_INTERVAL_S": "1"})
        self._platform = Platform(broker, self._here.prefix)
        topic = f"{self._here.prefix}events"
        self.traffic = EventWriter(self._here.client, topic, drawn_acts(200, 40, seed=3), rate=40.0, seed=3)
        self._processes = 1
        self.copies = self._here.copies("recommend", lambda: self._processes)
        self.store = folder / "recovery" / "recommend"

    def start(self, processes: int = 1) -> None:
        self._processes = processes
        self.copies.start()
        self.copies.wait_until_ready()

    def wait_for_slates(self, n: int) -> None:
        self._platform.wait_for("recommendations", n)

    def end(self) -> Written:
        """Stop writing, wait for the last slate, and drain."""
        sent = self.traffic.end()
        self.wait_for_slates(len(sent.events))
        assert self.copies.end() == [0] * self._processes
        return sent

    def close(self) -> None:
        """Leave nothing running."""
        if self.traffic.is_alive():
            self.traffic.end()
        self.copies.kill()

    def check(self, sent: Written) -> None:
        topics = ("recommendations", "dead-letters", "assignments")
        found = audit(sent, *(scan(self._here.client, self._here.prefix + topic) for topic in topics))
        assert not any([*found.lost.values(), *found.duplicated.values(), found.state_jumps]), found


@pytest.mark.parametrize("stop", [pytest.param(signal.SIGTERM, marks=pytest.mark.faults), signal.SIGKILL])
def test_one_process_becomes_three_and_then_two_with_nothing_lost_doubled_or_forgotten(
    broker: str, tmp_path: Path, stop: signal.Signals
):
    here = Moving(broker, tmp_path)
    try:
        here.start(1)
        here.traffic.start()
        for n_slates, processes in ((100, 3), (250, 2)):
            here.wait_for_slates(n_slates)
            here.copies.end(stop)
            here.start(processes)
        here.wait_for_slates(400)
        here.check(here.end())
    finally:
        here.close()


def test_a_flow_that_goes_on_from_an_older_backup_writes_nothing_twice(broker: str, tmp_path: Path):
    here = Moving(broker, tmp_path)
    try:
        here.start()
        here.traffic.start()
        here.wait_for_slates(100)
        back_up(here.store, tmp_path / "backup", print)
        here.wait_for_slates(300)
        here.copies.end(signal.SIGKILL)
        restore(tmp_path / "backup", here.store, print)
        here.start()
        here.wait_for_slates(400)
        here.check(here.end())
    finally:
        here.close()
