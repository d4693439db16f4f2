import orjson
import pytest
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dataflows.codecs import event_time
from dataflows.records import Record
from dataflows.run.aligned import IDLE_S, AlignedPartition, AlignedSource, Alignment

SECOND = 1_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Partition(StatefulSourcePartition[Record, int]):
    def __init__(self, batches: list[list[int]]) -> None:
        self.batches = batches
        self.n = 0
        self.is_closed = False

    def next_batch(self) -> list[Record]:
        if self.n == len(self.batches):
            raise StopIteration
        self.n += 1
        return [Record(0, 0, at, None, b"") for at in self.batches[self.n - 1]]

    def snapshot(self) -> int:
        return self.n

    def close(self) -> None:
        self.is_closed = True


class Source(FixedPartitionedSource[Record, int]):
    def __init__(self, batches: list[list[int]]) -> None:
        self.part = Partition(batches)

    def list_parts(self) -> list[str]:
        return ["0"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Partition:  # noqa: ARG002
        self.part.n = resume_state or 0
        return self.part


def opened(alignment: Alignment, name: str, batches: list[list[int]], *, leads: bool = False) -> AlignedPartition:
    source = AlignedSource(name, Source(batches), alignment, lambda record: record.timestamp, leads)
    return source.build_part("s", "0", None)


def times(part: AlignedPartition) -> list[int]:
    return [record.timestamp for record in part.next_batch()]


def test_who_is_ahead_waits_for_the_other():
    alignment = Alignment(10 * SECOND, Clock())
    fast = opened(alignment, "fast", [[0, 5 * SECOND], [20 * SECOND], [99 * SECOND]])
    slow = opened(alignment, "slow", [[0], [9 * SECOND], [30 * SECOND]])
    assert times(fast) == [0, 5 * SECOND]
    assert times(fast) == []  # the other has not been read at all
    assert fast.next_awake() is not None
    assert times(slow) == [0]
    assert times(fast) == [20 * SECOND]
    assert times(fast) == []
    assert times(slow) == [9 * SECOND]
    assert times(fast) == []
    assert times(slow) == [30 * SECOND]
    assert times(fast) == [99 * SECOND]


def test_nobody_waits_for_a_partition_that_is_empty_or_at_its_end():
    clock = Clock()
    alignment = Alignment(SECOND, clock)
    fast = opened(alignment, "fast", [[0], [50 * SECOND], [99 * SECOND]])
    empty, ended = opened(alignment, "empty", [[]] * 9), opened(alignment, "ended", [])
    with pytest.raises(StopIteration):
        ended.next_batch()
    times(fast)
    assert (times(empty), times(fast)) == ([], [])
    clock.now = IDLE_S
    assert (times(empty), times(fast)) == ([], [50 * SECOND])
    empty.close()
    clock.now = 0
    assert times(fast) == [99 * SECOND]


def test_who_leads_is_read_first_and_waits_for_nobody():
    clock = Clock()
    alignment = Alignment(SECOND, clock)
    leading = opened(alignment, "leading", [[50 * SECOND], [90 * SECOND]], leads=True)
    other = opened(alignment, "other", [[0], [1]])
    assert times(other) == []
    assert [times(leading), times(leading)] == [[50 * SECOND], [90 * SECOND]]
    assert times(other) == [0]
    late = Alignment(SECOND, clock)
    opened(late, "leading", [], leads=True)
    other = opened(late, "other", [[0]])
    clock.now = IDLE_S
    assert times(other) == [0]


def test_the_state_is_that_of_the_source_inside():
    source = Source([[1], [2]])
    aligned = AlignedSource("t", source, Alignment(0, Clock()), lambda record: record.timestamp)
    assert aligned.list_parts() == ["0"]
    part = aligned.build_part("s", "0", 1)
    assert times(part) == [2]
    assert part.snapshot() == 2
    part.close()
    assert source.part.is_closed


def test_a_record_without_a_time_holds_nobody():
    alignment = Alignment(SECOND, Clock())
    source = AlignedSource("t", Source([[7], [8]]), alignment, lambda _record: None)
    part = source.build_part("s", "0", None)
    assert [times(part), times(part)] == [[7], [8]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (orjson.dumps({"timestamp": 7, "x": []}), 7),
        (orjson.dumps({"created_at": 8}), 8),
        (orjson.dumps({"assigned_at": 9}), 9),
        (b'{"other": 1}', None),
        (b"{", None),
        (b"\xff", None),
        (None, None),
    ],
)
def test_the_time_of_an_event_a_slate_and_an_assignment_is_read(value: bytes | None, expected: int | None):
    assert event_time(Record(0, 0, 1, None, value)) == expected
