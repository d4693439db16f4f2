"""What the processes of a cluster tell each other."""

import threading
from collections.abc import Callable

import pytest

from dataflows.errors import EddyError
from dataflows.kafka.control import Cluster, DifferentSettingsError

pytestmark = pytest.mark.kafka

ADDRESSES = "127.0.0.1:1;127.0.0.1:2"


class Process:
    """One process of a cluster, and what it has heard."""

    def __init__(self, broker: str, prefix: str, number: int, addresses: str = ADDRESSES, **settings: str) -> None:
        self.stopped, self.differed = threading.Event(), threading.Event()
        self.failures: list[EddyError] = []
        self.cluster = Cluster(
            {"bootstrap.servers": broker}, f"{prefix}control", "learn", f"{prefix}learn-control",
            (addresses, number), settings, self.stopped.set, self._note,
        )  # fmt: skip

    def _note(self, failure: EddyError) -> None:
        self.failures.append(failure)
        self.differed.set()


def test_processes_that_are_set_otherwise_both_hear_by_which_setting(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    one = Process(broker, prefix, 0, EDDY_PRESET="a", EDDY_DELIVERY="b")
    other = Process(broker, prefix, 1, EDDY_PRESET="a", EDDY_DELIVERY="c")
    assert one.differed.wait(60)
    assert other.differed.wait(60)
    for process in (one, other):
        process.cluster.close()
        (failure,) = process.failures
        assert isinstance(failure, DifferentSettingsError)
        assert "EDDY_DELIVERY" in str(failure)
        assert "EDDY_PRESET" not in str(failure)


def test_processes_that_are_set_alike_hear_of_stops_alone(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    elsewhere = Process(broker, prefix, 0, "127.0.0.1:7;127.0.0.1:8", EDDY_DELIVERY="of another cluster")
    one, other = (Process(broker, prefix, number, EDDY_DELIVERY="b") for number in range(2))
    other.cluster.announce()
    assert one.stopped.wait(60)
    for process in (elsewhere, one, other):
        process.cluster.close()
        assert process.failures == []
