from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.codecs import encode
from dataflows.errors import EddyError
from dataflows.files.lines import FileError
from dataflows.files.replay import Message, Pace, Sent, as_fast_as_possible, keyed_messages, replay, sped_up, steady
from dataflows.topics import CATALOG, EVENTS
from models.messages import Event, Item


class NotDeliveredError(EddyError):
    pass


@dataclass
class FakeTime:
    """Stands still but while someone sleeps."""

    now: float = 64.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@dataclass
class FakeWriter:
    time: FakeTime
    fails_at: int | None = None
    written: list[tuple[str | bytes | None, bytes | None]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    n_flushed: int = 0

    def write(self, key: str | bytes | None, value: bytes | None) -> None:
        if len(self.written) == self.fails_at:
            raise NotDeliveredError("events: a message was not delivered")
        self.written.append((key, value))
        self.seconds.append(self.time.now - 64.0)

    def flush(self) -> None:
        self.n_flushed = len(self.written)


def an_event(k: int = 0, at_ms: int = 1_000) -> Event:
    return Event(f"e{k}", f"u{k}", f"i{k}", "click", at_ms)


def messages(n: int, step_ms: int = 1_000) -> list[Message]:
    return [Message(f"u{k}", b"x" * k, 5_000 + k * step_ms) for k in range(n)]


def replayed(
    series: list[Message], pace: Pace, on_progress: Callable[[Sent], None] = lambda _: None
) -> tuple[FakeWriter, Sent]:
    time = FakeTime()
    writer = FakeWriter(time)
    return writer, replay(writer, series, pace, on_progress, time.clock, time.sleep)


def test_messages_are_written_in_their_order_and_delivered() -> None:
    writer, sent = replayed(messages(4), as_fast_as_possible)
    assert writer.written == [("u0", b""), ("u1", b"x"), ("u2", b"xx"), ("u3", b"xxx")]
    assert writer.n_flushed == 4
    assert (sent.n_messages, sent.n_bytes) == (4, 6)


def test_as_fast_as_possible_waits_for_nothing() -> None:
    writer, sent = replayed(messages(3), as_fast_as_possible)
    assert writer.seconds == [0, 0, 0]
    assert sent.seconds == 0


def test_a_steady_rate_ignores_the_messages_own_times() -> None:
    writer, _ = replayed(messages(5, step_ms=90_000), steady(4))
    assert writer.seconds == [0, 0.25, 0.5, 0.75, 1]


def test_sped_up_messages_keep_the_proportions_of_their_times() -> None:
    series = [Message("u", b"", at_ms) for at_ms in (10_000, 11_000, 11_000, 18_000)]
    writer, _ = replayed(series, sped_up(2))
    assert writer.seconds == [0, 0.5, 0.5, 4]


def test_a_message_out_of_order_is_due_at_once() -> None:
    series = [Message("u", b"", at_ms) for at_ms in (10_000, 12_000, 9_000, 13_000)]
    writer, _ = replayed(series, sped_up(1))
    assert writer.seconds == [0, 2, 2, 3]


def test_a_message_without_a_time_is_due_at_once() -> None:
    series = [Message("u", b"", at_ms) for at_ms in (None, 10_000, 12_000, None)]
    writer, _ = replayed(series, sped_up(1))
    assert writer.seconds == [0, 0, 2, 2]


def test_a_writer_that_held_things_up_is_caught_up_with() -> None:
    time = FakeTime()

    class Slow(FakeWriter):
        def write(self, key: str | bytes | None, value: bytes | None) -> None:
            super().write(key, value)
            if len(self.written) == 1:
                self.time.now += 2

    writer = Slow(time)
    replay(writer, messages(4), steady(1), lambda _: None, time.clock, time.sleep)
    assert writer.seconds == [0, 2, 2, 3]


def test_progress_is_reported_while_nothing_is_due_and_at_the_end() -> None:
    reports: list[Sent] = []
    _, sent = replayed(messages(2), steady(0.5), reports.append)
    assert [(at.seconds, at.n_messages) for at in reports] == [(0.5, 1), (1, 1), (1.5, 1), (2, 1), (2, 2)]
    assert reports[-1] == sent


def test_a_message_that_was_not_delivered_stops_the_replay() -> None:
    time = FakeTime()
    writer = FakeWriter(time, fails_at=2)
    with pytest.raises(NotDeliveredError):
        replay(writer, messages(5), as_fast_as_possible, lambda _: None, time.clock, time.sleep)
    assert len(writer.written) == 2


def test_what_comes_before_a_faulty_line_is_delivered() -> None:
    time = FakeTime()
    writer = FakeWriter(time)
    lines = keyed_messages([encode(an_event(0)), encode(an_event(1)), b"{half"], EVENTS.key)
    with pytest.raises(FileError, match="line 3 is not JSON"):
        replay(writer, lines, as_fast_as_possible, lambda _: None, time.clock, time.sleep)
    assert writer.n_flushed == 2


@given(at_ms=st.lists(st.integers(0, 100), max_size=30), factor=st.sampled_from([2, 8, 64]))
def test_no_message_is_written_before_it_is_due(at_ms: list[int], factor: float) -> None:
    series = [Message("u", b"", 1_000 * at) for at in at_ms]
    writer, _ = replayed(series, sped_up(factor))
    due = [(at - at_ms[0]) / factor for at in at_ms]
    assert all(wrote >= soonest for wrote, soonest in zip(writer.seconds, due, strict=True))


def test_an_event_goes_under_its_user_with_its_time_and_its_bytes() -> None:
    line = encode(an_event(7, at_ms=1_479_123_456_789))
    assert list(keyed_messages([line], EVENTS.key)) == [Message("u7", line, 1_479_123_456_789)]


def test_an_item_goes_under_its_id_and_has_no_time() -> None:
    line = encode(Item("i-1", title="Toy Story (1995)"))
    assert list(keyed_messages([line], CATALOG.key)) == [Message("i-1", line, None)]


def test_the_line_of_a_removed_item_becomes_a_tombstone() -> None:
    assert list(keyed_messages([b'{"key":"i-1","deleted":true}'], CATALOG.key)) == [Message("i-1", None)]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"garbage", "is not JSON"),
        (b"[1]", "has no text in user_id"),
        (b'{"item_id":"i"}', "has no text in user_id"),
        (b'{"user_id":7}', "has no text in user_id"),
    ],
)
def test_a_line_without_a_key_is_named_blank_lines_counted(line: bytes, fault: str) -> None:
    with pytest.raises(FileError, match=f"line 3 {fault}"):
        list(keyed_messages([encode(an_event()), b"", line], EVENTS.key))
