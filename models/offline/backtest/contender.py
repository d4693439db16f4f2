"""What a backtest compares: a way to recommend, and what is asked of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from models.items import ItemTable
from models.numeric.arrays import Bools, Int32s, Int64s
from models.offline.backtest.config import Timer
from models.rankers.checkpoint import Checkpoint
from models.strategy import SessionSources, Strategy
from models.user.query import Query


class Predictions(NamedTuple):
    """What was recommended, and the rank in it of the item that the user went on to."""

    ranks: Int64s
    """(B,) from 1; 0 where the item is not among what was ranked."""
    rows: Int32s
    """(B, k) the slates, -1 where there is no more."""
    is_candidate: Bools
    """(B,) whether the item was among all that could have come on the slate, however late."""


class Contender(Protocol):
    """One way to recommend."""

    @property
    def name(self) -> str:
        """Its row in the report."""

    @property
    def strategy(self) -> Strategy:
        """What its queries are answered by."""

    def predict(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> Predictions:
        """Answer B queries of one strategy with slates of k, and find the B items that users went on to in them."""

    def adopt(self, checkpoint: Checkpoint | None) -> None:
        """Take a ranker that was trained meanwhile, where it goes by one."""

    def reweigh(self, by_session: tuple[SessionSources, ...]) -> None:
        """Take weights of the candidate sources that were fitted meanwhile, where it blends them."""

    def server(self, table: ItemTable) -> Callable[[Query], object]:
        """Make ready what answers one query as a flow would; what is timed is the answer."""


def time_alone(contender: Contender, queries: Sequence[Query], table: ItemTable, timer: Timer) -> list[float]:
    """Time the slate of each query, in microseconds."""
    serve = contender.server(table)
    times = []
    for query in queries:
        asked = replace(query, strategy=contender.strategy)
        started = timer()
        serve(asked)
        times.append((timer() - started) / 1_000)
    return times
