"""The recommend flow's core without the flow: what the plain loop and Quix Streams run in `tests.benchmarks.e2e`."""

from collections import Counter
from collections.abc import Callable
from time import perf_counter

from dataflows.codecs import encode, event_decoder
from dataflows.kafka.reader import scan
from dataflows.records import Record
from dataflows.run import settings as configuration
from dataflows.steps.profile import profile_step
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import DeadLetter
from models.serving.recommender import Recommender
from models.user.profile import EventOutcome
from models.user.state import PackedUser, UserState
from tests.benchmarks.world import clock


class Core:
    """From records to encoded slates, with the tables that `model-updates` holds now.

    It takes the flow's own environment variables.
    """

    def __init__(self) -> None:
        self.settings = configuration.load()
        self.client = self.settings.kafka.client()
        self.table = self._table()
        self.stages: Counter[str] = Counter()
        """Seconds of each stage."""
        self._recommender = Recommender(self.table, None, n_threads=self.settings.n_threads)
        self._recommender.warm_up()
        self._decode = event_decoder(self.settings.events)
        self._step = profile_step(self.settings, Experiments(), self.table, clock, Counter())

    def topic(self, name: str) -> str:
        """Return what a topic is called here."""
        return f"{self.settings.topics.prefix}{name}"

    def user(self, packed: PackedUser | None = None) -> UserState:
        """Make a user, or unpack one."""
        return UserState(self._step.config, self._step.events, packed)

    def answer(self, records: list[Record], user_of: Callable[[str], UserState]) -> list[tuple[str, bytes]]:
        """Apply events to their users; returns a slate for each that makes one, by user id."""
        at = perf_counter()
        events = self._decode(records)
        at = self._lap("decode", at)
        queries = []
        for event in events:
            if isinstance(event, DeadLetter):
                raise SystemExit(f"an event is refused: {event}")
            user = user_of(event.user_id)
            if user.apply(event, self.table) is EventOutcome.APPLIED and user.is_due(event, 0):
                queries.append(user.due(event, self.settings.strategy))
        at = self._lap("profile and query", at)
        slates = self._recommender.recommend(queries)
        at = self._lap("recommend", at)
        encoded = [(slate.user_id, encode(slate)) for slate in slates]
        self._lap("encode", at)
        return encoded

    def _lap(self, stage: str, since: float) -> float:
        now = perf_counter()
        self.stages[stage] += now - since
        return now

    def _table(self) -> ItemTable:
        rows = list(scan(self.client, self.topic("model-updates")))
        table = ItemTable(int(clock().timestamp() * 1_000))
        table.apply_rows([record.key or b"" for record in rows], [record.value for record in rows])
        return table
