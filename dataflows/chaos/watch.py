"""Watches the processes of flows: their memory over time, and for how long they stood still."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from dataflows.chaos.copies import Copies

PAUSE = 'eddy_longest_pause_seconds{{during="{during}",flow="{flow}"}}'


@dataclass(slots=True)
class Seen:
    """What was seen of one flow."""

    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, and what all its processes held together."""
    pause_s: dict[str, float] = field(default_factory=dict)
    """The longest time for which no source was polled, while it worked and while it took a snapshot."""

    def summary(self) -> dict[str, Any]:
        """Return values of JSON."""
        held = [mb for _, mb in self.memory_mb]
        thinned = self.memory_mb[:: max(1, len(self.memory_mb) // 20)]
        return {
            "memory_mb": {"start": round(held[0]), "half": round(held[len(held) // 2]), "peak": round(max(held))},
            "memory_over_time": [(round(seconds), round(mb)) for seconds, mb in thinned],
            "longest_pause_s": {during: round(seconds, 2) for during, seconds in self.pause_s.items()},
        }


class Watch(threading.Thread):
    """Looks at the flows about once a second."""

    EVERY_S = 1.0

    def __init__(self, flows: list[Copies]) -> None:
        super().__init__(name="watch", daemon=True)
        self._flows = flows
        self._ended = threading.Event()
        self.seen = {copies.flow: Seen() for copies in flows}

    def run(self) -> None:
        """Look until told to end."""
        started = time.monotonic()
        while not self._ended.wait(self.EVERY_S):
            for copies in self._flows:
                self._look(copies, time.monotonic() - started)

    def _look(self, copies: Copies, seconds: float) -> None:
        seen = self.seen[copies.flow]
        held = sum(process.memory_mb() for process in copies.processes)
        if held:
            seen.memory_mb.append((seconds, held))
        for process in copies.processes:
            metrics = process.metrics()
            for during in ("work", "snapshot"):
                pause_s = metrics.get(PAUSE.format(during=during, flow=copies.flow), 0.0)
                seen.pause_s[during] = max(seen.pause_s.get(during, 0.0), pause_s)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()
