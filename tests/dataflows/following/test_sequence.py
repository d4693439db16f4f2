"""The process in which a sequence model goes on learning, beside a topic of events that is a list."""

from collections import Counter
from typing import Any, Literal, cast

import numpy as np
import orjson
import pytest

from dataflows.codecs import event_decoder
from dataflows.following.erasures import Erasures
from dataflows.following.sequence import SequenceFollower
from dataflows.kafka.reader import Batch
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.config import ProfileConfig
from models.items import ItemTable
from models.messages import Erasure
from models.names import SEQUENCE
from models.online.registry import VersionRegistry
from models.online.versions import Row, pin_row, rows_of_sequence
from models.sequence.checkpoint import SequenceCheckpoint
from tests.models.sequence.builders import LEARNED_UNTIL, a_sequence_model

N_USERS, N_ITEMS = 40, 20


class Topics:
    """Events on two partitions, and what `model-updates` holds of versions; a reader and tables of both."""

    def __init__(self) -> None:
        self.log: list[list[Record]] = [[], []]
        self.read = [0, 0]
        self.table = ItemTable(LEARNED_UNTIL)
        self.rows: list[Row] = []
        self.restart()

    def restart(self) -> None:
        """Forget all that a process knew of the topics."""
        self.begin("earliest")
        self.registry = VersionRegistry()
        for row in self.rows:
            self.registry.take(row.key.encode(), row.value)

    def publish(self, model: SequenceCheckpoint) -> None:
        self.write(rows_of_sequence(model, self.registry.versions(SEQUENCE), self.registry.in_use(SEQUENCE)))

    def write(self, rows: list[Row]) -> None:
        self.rows += rows
        for row in rows:
            self.registry.take(row.key.encode(), row.value)

    def know(self) -> None:
        """Let each user have acted when the model was trained, so that they have a say which one serves."""
        for partition in range(2):
            for user in range(N_USERS):
                self._write(partition, user, user % N_ITEMS, LEARNED_UNTIL - N_USERS + user, 0)

    def act(self, n: int, partition: int, at: int, seed: int = 0, written_at: int = 0) -> None:
        """Let the users of a partition go round a circle of items."""
        users = np.random.default_rng(seed).integers(0, N_USERS, n).tolist()
        for user in users:
            log = self.log[partition]
            moved = sum(1 for record in log if orjson.loads(record.value or b"")["user_id"] == f"{partition}-{user}")
            self._write(partition, user, (user + moved) % N_ITEMS, at + 60_000 * len(log), written_at)

    def _write(self, partition: int, user: int, item: int, at: int, written_at: int) -> None:
        log = self.log[partition]
        value = {
            "event_id": f"{partition}-{len(log)}", "user_id": f"{partition}-{user}", "event_type": "click",
            "item_id": f"n-{item}", "timestamp": at,
        }  # fmt: skip
        key = cast("str", value["user_id"]).encode()
        log.append(Record(partition, len(log), written_at or at, key, orjson.dumps(value)))

    # A reader.
    complete = True

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        return {("events", p): len(log) for p, log in enumerate(self.log)}

    def begin(self, start: Literal["earliest"] | dict[str, dict[int, int]]) -> None:
        self.read = [0, 0] if start == "earliest" else [start["events"][p] for p in range(2)]
        self.begun = self.read.copy()

    def offsets_at(self, moment: int) -> dict[tuple[str, int], int]:
        written = [[record.timestamp for record in log] for log in self.log]
        return {("events", p): sum(at < moment for at in times) for p, times in enumerate(written)}

    def poll(self, _timeout_s: float) -> list[Batch]:
        batches = [Batch("events", p, log[self.read[p] :]) for p, log in enumerate(self.log)]
        self.read = [len(log) for log in self.log]
        return [batch for batch in batches if batch.records]

    # Tables.
    def refresh(self) -> None:
        """Nothing arrives by itself."""

    def take_versions(self) -> list[Any]:
        return list(self.registry.changes())


def a_follower(topics: Topics, counts: Counter[str], erasures: Erasures | None = None) -> SequenceFollower:
    events = EventSettings()
    return SequenceFollower(
        cast("Any", topics), cast("Any", topics), event_decoder(events), events, ProfileConfig(),
        erasures or Erasures(), topics.write, 0.0, counts,
    )  # fmt: skip


def followed(topics: Topics, n_steps: int = 3, erasures: Erasures | None = None) -> Counter[str]:
    """Start a process, let it take some steps, and kill it; say what it did."""
    topics.restart()
    counts: Counter[str] = Counter()
    follower = a_follower(topics, counts, erasures)
    for _ in range(n_steps):
        counts["published"] += follower.step() is not None
    return counts


def test_a_process_that_starts_again_learns_what_no_version_has_learned_and_nothing_twice():
    """One partition may lag hours behind the other."""
    topics = Topics()
    topics.know()
    topics.publish(a_sequence_model())
    topics.act(1_500, 0, LEARNED_UNTIL + 1)
    first = followed(topics)
    assert (first["learned"], first["published"]) == (1_500, 1)
    topics.act(1_500, 1, LEARNED_UNTIL + 1)
    second = followed(topics)
    assert (second["learned"], second["published"]) == (1_500, 1)
    assert followed(topics)["learned"] == 0


def test_what_was_learned_into_a_model_that_is_taken_back_is_learned_again_into_the_one_that_serves():
    topics, counts = Topics(), Counter[str]()
    topics.know()
    topics.publish(a_sequence_model())
    topics.act(1_500, 0, LEARNED_UNTIL + 1)
    follower = a_follower(topics, counts)
    first = follower.step()
    assert first is not None
    follower.step()
    persons = next(one for one in topics.registry.versions(SEQUENCE) if one.version != first.version)
    topics.write([pin_row(SEQUENCE, persons)])
    follower.step()
    topics.act(1_000, 0, LEARNED_UNTIL + 10**9, seed=1)
    follower.step()
    assert follower.learner.service.version == persons.version
    topics.write([pin_row(SEQUENCE, None)])
    counts.clear()
    for _ in range(4):
        follower.step()
    assert counts["learned"] == 1_000, "those that the version before the pin had not learned"
    assert follower.learner.checkpoint().positions["0"] == N_USERS + 2_500


def test_a_model_that_reads_fewer_acts_may_take_the_place_of_another():
    topics, counts = Topics(), Counter[str]()
    topics.publish(a_sequence_model())
    topics.act(1_500, 0, LEARNED_UNTIL + 1)
    follower = a_follower(topics, counts)
    follower.step()
    topics.publish(a_sequence_model(2, n_dimensions=4))
    for seed in range(1, 4):
        topics.act(500, 0, LEARNED_UNTIL + seed * 10**9, seed=seed)
        follower.step()
    assert follower.learner.service.network.config.n_dimensions == 4


def test_an_erased_user_is_not_learned_where_the_device_dates_its_acts_later_than_they_are():
    topics, erasures = Topics(), Erasures()
    topics.publish(a_sequence_model())
    topics.act(5, 0, LEARNED_UNTIL + 50_000, written_at=LEARNED_UNTIL + 1)
    erasures.take(Erasure(f"e-{user}", f"0-{user}", LEARNED_UNTIL + 2) for user in range(N_USERS))
    counts = followed(topics, erasures=erasures)
    assert (counts["learned"], counts["before_erasure"]) == (0, 5)


def test_an_erasure_while_it_runs_takes_what_is_known_of_the_user_and_of_nobody_else():
    topics, counts, erasures = Topics(), Counter[str](), Erasures()
    topics.publish(a_sequence_model())
    topics.act(400, 0, LEARNED_UNTIL + 1)
    follower = a_follower(topics, counts, erasures)
    follower.step()
    erasures.note("0-1", LEARNED_UNTIL + 10**9)
    follower.step()
    once = counts["erased_acts"]
    assert 0 < once < 40
    erasures.note("0-1", LEARNED_UNTIL + 10**9)
    erasures.note("somebody", LEARNED_UNTIL + 10**9)
    follower.step()
    assert counts["erased_acts"] == once


def test_positions_of_a_topic_that_was_made_anew_are_not_believed():
    topics = Topics()
    topics.know()
    topics.publish(a_sequence_model())
    topics.act(1_500, 0, LEARNED_UNTIL + 1)
    assert followed(topics)["published"] == 1
    topics.log = [[], []]
    topics.act(200, 0, LEARNED_UNTIL + 10**9)
    topics.restart()
    counts: Counter[str] = Counter()
    follower = a_follower(topics, counts)
    follower.step()
    assert counts["learned"] == 200
    assert follower.learner.checkpoint().positions == {"0": 200}, "no offset of the topic before stands for one of this"


def test_a_start_takes_as_long_whatever_lies_before_what_is_to_be_learned(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dataflows.following.sequence.REMEMBERED", 600)
    topics = Topics()
    topics.know()
    topics.publish(a_sequence_model())
    topics.act(1_500, 0, LEARNED_UNTIL + 1)
    assert followed(topics)["published"] == 1
    assert topics.begun == [0, 0], "forty acts of each partition lie before what a trained model has not learned"
    topics.act(100, 0, LEARNED_UNTIL + 10**9, seed=1)
    assert followed(topics)["learned"] == 100
    assert topics.begun == [N_USERS + 1_500 - 300, 0]


def test_a_trained_model_does_not_wait_for_all_that_it_was_trained_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dataflows.following.sequence.REMEMBERED", 20)
    topics = Topics()
    topics.know()
    topics.publish(a_sequence_model())
    topics.act(50, 0, LEARNED_UNTIL + 1)
    assert followed(topics)["learned"] == 50
    assert topics.begun == [N_USERS - 10, N_USERS - 10]
