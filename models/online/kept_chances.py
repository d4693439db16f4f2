"""Whether the chances that slates carried came true: the reliability of what was said, by stage."""

from collections.abc import Iterable

import numpy as np

from models.names import STAGES
from models.numeric.arrays import Doubles
from models.numeric.reliability import N_BINS, N_COLUMNS, reliability
from models.rankers.inputs import SlateExample

HALF_LIFE = 500_000
"""Items of which it is known what became of them after which earlier ones count half: some 50,000 slates."""


class KeptChances:
    """What slates said, beside what came of it.

    Parameters
    ----------
    tables : (S, N, 3) to go on from.
    """

    def __init__(self, tables: Doubles | None = None) -> None:
        self.tables = np.zeros((len(STAGES), N_BINS, N_COLUMNS)) if tables is None else tables.copy()

    @property
    def is_known(self) -> bool:
        """Whether a slate that carried chances is decided."""
        return bool(self.tables.any())

    def add(self, examples: Iterable[SlateExample]) -> None:
        """Take what is decided of slates that carried chances."""
        said = [example for example in examples if example.chances and all(example.chances)]
        for s in range(len(STAGES)):
            decided = [example for example in said if example.decided >> s & 1]
            chances = np.array([item[s] for example in decided for item in example.chances])
            came_true = np.array([bits >> s & 1 for example in decided for bits in example.stages], np.bool_)
            self.tables[s] *= 0.5 ** (len(chances) / HALF_LIFE)
            self.tables[s] += reliability(chances, came_true)
