"""What the live page shows of the stream: rates, latencies, letters by reason, and what the experiments say."""

import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from dataflows.records import Record
from models.messages import ExperimentResult, Id

MAX_EVENTS = 20_000
"""Events whose slates are waited for, to measure how long they took."""
WINDOW_S = 60
"""Seconds that rates and latencies are shown of."""
MAX_NAMES = 256
"""Experiments, and reasons of dead letters, that are told apart."""
UNREADABLE = "unreadable"


class _EventHead(msgspec.Struct):
    event_id: Id
    user_id: Id
    item_id: Id
    event_type: Id
    value: float | None = None

    def shown(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        names = ("event_id", "user_id", "item_id", "event_type", "value")
        return {name: getattr(self, name) for name in names}


class _LetterHead(msgspec.Struct):
    reason: Id


_event_of = msgspec.json.Decoder(_EventHead).decode
_letter_of = msgspec.json.Decoder(_LetterHead).decode
_result_of = msgspec.json.Decoder(ExperimentResult).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass
class Pulse:
    """Counts of the last minute, by second; followers' threads write, the event loop reads."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _written_at: "OrderedDict[str, float]" = field(default_factory=OrderedDict)
    _events: Counter[int] = field(default_factory=Counter)
    _slates: Counter[int] = field(default_factory=Counter)
    _latencies: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=20_000))
    _newest: deque[_EventHead] = field(default_factory=lambda: deque(maxlen=40))
    _letters: Counter[str] = field(default_factory=Counter)
    _results: dict[str, ExperimentResult] = field(default_factory=dict)
    n_events: int = 0
    n_slates: int = 0

    def note_events(self, records: list[Record], now: float) -> None:
        """Count events, and note when each was written, by its record's own time."""
        with self._lock:
            _count(self._events, int(now), len(records))
            self.n_events += len(records)
            for record in records:
                try:
                    event = _event_of(record.value or b"")
                except _UNREADABLE:
                    continue
                self._written_at[event.event_id] = record.timestamp / 1_000
                self._newest.append(event)
            while len(self._written_at) > MAX_EVENTS:
                self._written_at.popitem(last=False)

    def note_slates(self, slates: list[tuple[str, str, bytes | None]], now: float) -> None:
        """Count slates, and how long after their events they are in hand."""
        with self._lock:
            _count(self._slates, int(now), len(slates))
            self.n_slates += len(slates)
            gone = {user_id for user_id, _, value in slates if value is None}
            if gone:
                kept = [event for event in self._newest if event.user_id not in gone]
                self._newest.clear()
                self._newest.extend(kept)
            for _, trigger_id, _ in slates:
                written_at = self._written_at.pop(trigger_id, None)
                if written_at is not None:
                    self._latencies.append((int(now), 1e3 * max(now - written_at, 0.0)))

    def note_letters(self, records: list[Record]) -> None:
        """Count dead letters by their reasons; those beyond MAX_NAMES together, as what is unreadable."""
        with self._lock:
            for record in records:
                try:
                    reason = _letter_of(record.value or b"").reason
                except _UNREADABLE:
                    reason = UNREADABLE
                is_new = reason not in self._letters
                self._letters[UNREADABLE if is_new and len(self._letters) >= MAX_NAMES else reason] += 1

    def note_result(self, record: Record) -> None:
        """Keep an experiment's newest result."""
        try:
            result = _result_of(record.value or b"null")
        except _UNREADABLE:
            return
        with self._lock:
            if result.experiment in self._results or len(self._results) < MAX_NAMES:
                self._results[result.experiment] = result

    def results(self) -> list[ExperimentResult]:
        """Return the newest result of each experiment."""
        with self._lock:
            return [*self._results.values()]

    def read(self, now: float) -> dict[str, Any]:
        """Return what the page draws: one number a second for the last minute, the newest second left out."""
        with self._lock:
            seconds = range(int(now) - WINDOW_S, int(now))
            latencies = _by_second(self._latencies, seconds[0])
            p50, p99 = _percentiles([ms for second in latencies.values() for ms in second])
            over_time = [_percentiles(latencies.get(second, [])) for second in seconds]
            return {
                "seconds": list(seconds),
                "events": [self._events[second] for second in seconds],
                "slates": [self._slates[second] for second in seconds],
                "latency_ms": {"p50": p50, "p99": p99},
                "p50_ms": [median for median, _ in over_time],
                "p99_ms": [tail for _, tail in over_time],
                "n_events": self.n_events,
                "n_slates": self.n_slates,
                "letters": dict(self._letters),
                "newest": [event.shown() for event in reversed(self._newest)],
            }


def _count(counts: Counter[int], second: int, n: int) -> None:
    """Count n more in a second, and forget those that are not shown any more."""
    if second not in counts:
        for at in [at for at in counts if at < second - WINDOW_S]:
            del counts[at]
    counts[second] += n


def _by_second(latencies: Iterable[tuple[int, float]], since: int) -> dict[int, list[float]]:
    """Group latencies by the second in which their slates came."""
    groups: defaultdict[int, list[float]] = defaultdict(list)
    for second, ms in latencies:
        if second >= since:
            groups[second].append(ms)
    return groups


def _percentiles(latencies: list[float]) -> tuple[float | None, float | None]:
    """Return the median and the 99th percentile, in ms to a tenth; None of nothing."""
    if not latencies:
        return None, None
    median, tail = np.percentile(latencies, (50, 99)).round(1).tolist()
    return median, tail
