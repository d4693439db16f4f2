"""Reads several topics side by side in time: none runs ahead of the others.

A flow that starts on full topics would read the one with the small messages far ahead of the one with the large ones.
Here a partition that is ahead waits for those that have something to read. It holds within a process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dataflows.records import Record

PAUSE = timedelta(milliseconds=5)
IDLE_S = 0.5
"""A partition that has had nothing for so long is waited for no longer."""


class Alignment:
    """How far each partition has been read.

    Parameters
    ----------
    slack_ms : how far, in event time, one may be ahead of another.
    clock : seconds that only rise.
    """

    def __init__(self, slack_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slack_ms = slack_ms
        self._clock = clock
        self._reached: dict[str, float] = {}
        """Event time by partition, minus infinity before the first record."""
        self._heard_at: dict[str, float] = {}
        self._leading: set[str] = set()

    def join(self, name: str, *, leads: bool) -> None:
        """Begin to read a partition."""
        if leads:
            self._leading.add(name)
        self._reached[name] = float("-inf")
        self._heard_at[name] = self._clock()

    def reach(self, name: str, at: int | None) -> None:
        """Note that records were read, the last of this event time; None where it has none."""
        self._heard_at[name] = self._clock()
        if at is not None:
            self._reached[name] = at

    def leave(self, name: str) -> None:
        """Note that nothing more will be read of a partition."""
        self._reached.pop(name, None)
        self._heard_at.pop(name, None)

    def may_read(self, name: str) -> bool:
        """Tell whether a partition is not too far ahead of any that has something to read."""
        if name in self._leading:
            return True
        now, mine = self._clock(), self._reached[name]
        return not any(
            (mine > at + self._slack_ms or (other in self._leading and at == float("-inf")))
            and now - self._heard_at[other] < IDLE_S
            for other, at in self._reached.items()
            if other != name
        )


@dataclass(frozen=True)
class AlignedSource(FixedPartitionedSource[Record, Any]):
    """A source whose partitions wait for those of others; its state is that of the source inside."""

    name: str
    """The topic."""
    inner: FixedPartitionedSource[Record, Any]
    alignment: Alignment
    time_of: Callable[[Record], int | None]
    """Event time of a record; None where it has none."""
    leads: bool = False
    """Whether it waits for nobody and is read first: where others can only be understood with it."""

    def list_parts(self) -> list[str]:
        """Name the partitions."""
        return self.inner.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "AlignedPartition":
        """Open one partition."""
        return AlignedPartition(self, f"{self.name}/{for_part}", self.inner.build_part(step_id, for_part, resume_state))


class AlignedPartition(StatefulSourcePartition[Record, Any]):
    """Reads one partition as far as the others allow."""

    def __init__(self, source: AlignedSource, name: str, inner: StatefulSourcePartition[Record, Any]) -> None:
        self._name = name
        self._inner = inner
        self._alignment = source.alignment
        self._time_of = source.time_of
        self._is_held = False
        self._alignment.join(name, leads=source.leads)

    def next_batch(self) -> list[Record]:
        """Return the next records; none while this partition is too far ahead."""
        self._is_held = not self._alignment.may_read(self._name)
        if self._is_held:
            return []
        try:
            records = list(self._inner.next_batch())
        except StopIteration:
            self._alignment.leave(self._name)
            raise
        if records:
            self._alignment.reach(self._name, self._time_of(records[-1]))
        return records

    def next_awake(self) -> datetime | None:
        """Say when to look again."""
        return datetime.now(UTC) + PAUSE if self._is_held else self._inner.next_awake()

    def snapshot(self) -> Any:
        """Return the state of the partition inside."""
        return self._inner.snapshot()

    def close(self) -> None:
        """Leave the others alone."""
        self._alignment.leave(self._name)
        self._inner.close()
