"""What an import left out: how many rows for which reason, and where the first of them are."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

N_EXAMPLES = 3


@dataclass(slots=True)
class Skipped:
    """Counts rows by the reason that they were left out for."""

    counts: Counter[str] = field(default_factory=Counter)
    places: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By reason, the first N_EXAMPLES of them: `file, line n`."""

    @property
    def n(self) -> int:
        """How many rows were left out."""
        return self.counts.total()

    def add(self, reason: str, places: list[tuple[str, int]], n: int = 1) -> None:
        """Count `n` rows more, of which some places (file, line) are known."""
        self.counts[reason] += n
        known = self.places[reason]
        known += [f"{file}, line {line}" for file, line in places[: N_EXAMPLES - len(known)]]
