import gc
import gzip
import json
import warnings
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.files.lines import FileError
from dataflows.files.sink import FileSink
from dataflows.files.source import FileSource
from dataflows.records import Outgoing, Record

N_EVENTS = 700


class CrashError(Exception):
    pass


def an_event(number: int) -> bytes:
    return b'{"event_id":"e-%d","user_id":"u-%d"}' % (number, number % 7)


def an_events_file(folder: Path, name: str = "events.jsonl", n: int = N_EVENTS, first: int = 0) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = b"".join(an_event(number) + b"\n" for number in range(first, first + n))
    path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    return path


def read_all(source: FileSource, resume: dict[str, tuple[int, int]] | None = None) -> list[Record]:
    records: list[Record] = []
    for name in source.list_parts():
        part = source.build_part("in", name, (resume or {}).get(name))
        try:
            while True:
                records += part.next_batch()
        except StopIteration:
            part.close()
    return records


def write(folder: Path, *messages: Outgoing, partitions: int = 1, topic: str = "events") -> None:
    sink = FileSink(folder, topic, partitions)
    for number, name in enumerate(sink.list_parts()):
        part = sink.build_part("out", name, None)
        part.write_batch([message for message in messages if sink.part_fn(message.key) == number])
        part.close()


def lines_of(folder: Path, topic: str) -> list[bytes]:
    return [line for path in sorted((folder / topic).glob("*")) for line in path.read_bytes().splitlines()]


def a_flow(folder: Path, crash: Callable[[Record], bool], partitions: int = 2) -> Dataflow:
    def relay(record: Record) -> tuple[str, Outgoing]:
        if crash(record):
            raise CrashError
        user = json.loads(record.value or b"")["user_id"]
        line = b"%d/%d %s" % (record.partition, record.offset, record.value)
        return user, Outgoing(user, f"{record.partition}/{record.offset}", line)

    flow = Dataflow("relay")
    records = op.input("in", flow, FileSource(folder, "events", batch_size=64))
    messages = op.map("relay", records, relay)
    op.output("out", messages, FileSink(folder, "out", partitions))
    return flow


def at(offset: int) -> Callable[[Record], bool]:
    return lambda record: record.offset == offset


def run(flow: Dataflow, store: Path | None = None) -> None:
    recovery = RecoveryConfig(str(store)) if store else None  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a crash closes no files
        try:
            run_main(flow, epoch_interval=timedelta(0), recovery_config=recovery)  # type: ignore[no-untyped-call]
        finally:
            gc.collect()


def a_store(folder: Path) -> Path:
    store = folder / "store"
    store.mkdir()
    init_db_dir(store, 1)  # type: ignore[no-untyped-call]
    return store


# --- reading


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_each_line_is_a_record_at_its_lines_number(tmp_path: Path, name: str) -> None:
    path = an_events_file(tmp_path, name, n=2_500)
    records = read_all(FileSource(tmp_path, "events"))
    modified = path.stat().st_mtime_ns // 1_000_000
    assert records == [Record(0, number, modified, None, an_event(number)) for number in range(2_500)]


def test_a_batch_is_at_most_as_long_as_asked(tmp_path: Path) -> None:
    an_events_file(tmp_path, n=25)
    source = FileSource(tmp_path, "events", batch_size=10)
    with closing(source.build_part("in", "events.jsonl", None)) as part:
        assert [len(part.next_batch()) for _ in range(3)] == [10, 10, 5]


def test_a_folders_files_are_partitions_in_the_order_of_their_names(tmp_path: Path) -> None:
    an_events_file(tmp_path, "events/b.jsonl.gz", n=1, first=2)
    an_events_file(tmp_path, "events/a.jsonl", n=2)
    records = read_all(FileSource(tmp_path, "events"))
    assert [(record.partition, record.offset, record.value) for record in records] == [
        (0, 0, an_event(0)),
        (0, 1, an_event(1)),
        (1, 0, an_event(2)),
    ]


def test_blank_lines_and_a_missing_last_newline_leave_offsets_as_the_lines_numbers(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"a":1}\r\n\n  \n{"a":2}')
    records = read_all(FileSource(tmp_path, "events"))
    assert [(record.offset, record.value) for record in records] == [(0, b'{"a":1}'), (3, b'{"a":2}')]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_reading_goes_on_where_a_snapshot_stands(tmp_path: Path, name: str) -> None:
    an_events_file(tmp_path, name)
    source = FileSource(tmp_path, "events", batch_size=100)
    with closing(source.build_part("in", name, None)) as part:
        before = [*part.next_batch(), *part.next_batch()]
        assert before + read_all(source, {name: part.snapshot()}) == read_all(source)


def test_a_stop_ends_the_reading_between_two_batches(tmp_path: Path) -> None:
    an_events_file(tmp_path)
    asked: list[bool] = []
    source = FileSource(tmp_path, "events", stop=lambda: bool(asked), batch_size=100)
    with closing(source.build_part("in", "events.jsonl", None)) as part:
        assert len(part.next_batch()) == 100
        asked.append(True)
        with pytest.raises(StopIteration):
            part.next_batch()
        assert part.snapshot()[0] == 100


def test_a_missing_topic_is_an_error_that_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"events\.jsonl, events\.jsonl\.gz, or such files in events/"):
        FileSource(tmp_path, "events").list_parts()


def test_an_optional_topic_without_files_is_empty(tmp_path: Path) -> None:
    flow, seen = Dataflow("empty"), []  # type: ignore[var-annotated]
    nothing = op.input("in", flow, FileSource(tmp_path, "requests", optional=True))
    something = op.input("more", flow, TestingSource(["x"]))
    op.output("out", op.merge("both", nothing, something), TestingSink(seen))
    run(flow)
    assert seen == ["x"]


def test_a_topic_in_two_forms_is_refused(tmp_path: Path) -> None:
    an_events_file(tmp_path, "events.jsonl")
    an_events_file(tmp_path, "events.jsonl.gz")
    with pytest.raises(FileError, match="keep one of them"):
        FileSource(tmp_path, "events").list_parts()


def test_half_a_gzip_file_is_an_error_and_not_an_end(tmp_path: Path) -> None:
    path = an_events_file(tmp_path, "events.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileError, match="not a whole gzip file"):
        read_all(FileSource(tmp_path, "events"))


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_an_input_that_was_cut_since_its_snapshot_is_refused(tmp_path: Path, name: str) -> None:
    an_events_file(tmp_path, name)
    source = FileSource(tmp_path, "events")
    with closing(source.build_part("in", name, None)) as part:
        part.next_batch()
    an_events_file(tmp_path, name, n=10)
    with pytest.raises(FileError, match="shorter"):
        source.build_part("in", name, part.snapshot())


# --- writing


def test_what_a_sink_writes_a_source_reads_tombstones_included(tmp_path: Path) -> None:
    write(tmp_path, Outgoing("i-1", "1", b'{"item_id":"i-1"}'), Outgoing("i-2", "2", None))
    records = read_all(FileSource(tmp_path, "events"))
    assert [(record.key, record.value) for record in records] == [
        (None, b'{"item_id":"i-1"}'),
        (b"i-2", None),
    ]


@pytest.mark.parametrize(
    "line",
    [b'{"deleted":true}', b'{"key":1,"deleted":true}', b'{"key":"k","deleted":true,"a":1}', b'{"deleted"'],
)
def test_a_message_that_only_resembles_a_tombstone_stays_a_message(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "events.jsonl").write_bytes(line + b"\n")
    assert [record.value for record in read_all(FileSource(tmp_path, "events"))] == [line]


def test_a_key_always_lies_in_the_same_file(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        write(folder, *(Outgoing(f"u-{n}", f"{n}", b"{}") for n in range(50)), partitions=12)
    assert lines_of(tmp_path / "a", "events") == lines_of(tmp_path / "b", "events")
    assert len(list((tmp_path / "a" / "events").glob("*.jsonl"))) == 12


def test_partitions_beyond_ten_are_routed_by_number_and_not_by_text(tmp_path: Path) -> None:
    seen: list[tuple[str, Outgoing]] = [(f"u-{n}", Outgoing(f"u-{n}", "", b"u-%d" % n)) for n in range(200)]
    flow = Dataflow("route")
    op.output("out", op.input("in", flow, TestingSource(seen)), FileSink(tmp_path, "out", 12))
    run(flow)
    sink = FileSink(tmp_path, "out", 12)
    found = {
        line.decode(): int(path.stem)
        for path in (tmp_path / "out").glob("*")
        for line in path.read_bytes().splitlines()
    }
    assert found == {key: sink.part_fn(key) for key, _ in seen}


def test_files_of_another_layout_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    write(tmp_path, partitions=4)
    with pytest.raises(FileError, match=r"00002\.jsonl, 00003\.jsonl"):
        FileSink(tmp_path, "events", 2).list_parts()


def test_a_torn_last_line_is_cut_off_on_resume(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, "out")
    part = sink.build_part("out", "00000", None)
    part.write_batch([Outgoing("k", "1", b"whole")])
    snapshot = part.snapshot()
    part.write_batch([Outgoing("k", "2", b"after")])
    part.close()
    with (tmp_path / "out" / "00000.jsonl").open("ab") as file:
        file.write(b"to")
    resumed = sink.build_part("out", "00000", snapshot)
    resumed.write_batch([Outgoing("k", "2", b"after")])
    resumed.close()
    assert lines_of(tmp_path, "out") == [b"whole", b"after"]


def test_an_output_that_was_cut_since_its_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="ends before byte 10"):
        FileSink(tmp_path, "out").build_part("out", "00000", 10)


# --- whole flows


def test_a_flow_without_a_snapshot_starts_over(tmp_path: Path) -> None:
    an_events_file(tmp_path)
    for _ in range(2):
        run(a_flow(tmp_path, crash=lambda _: False))
    assert len(lines_of(tmp_path, "out")) == N_EVENTS


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
@pytest.mark.parametrize("crashes", [[0], [63], [64, 64, 65], [300, 640, 699]])
def test_after_any_crash_nothing_is_lost_and_nothing_is_there_twice(
    tmp_path: Path, name: str, crashes: list[int]
) -> None:
    an_events_file(tmp_path, name)
    store = a_store(tmp_path)
    for crash_at in crashes:
        with pytest.raises(BytewaxRuntimeError):
            run(a_flow(tmp_path, crash=at(crash_at)), store)
    run(a_flow(tmp_path, crash=lambda _: False), store)
    assert sorted(lines_of(tmp_path, "out")) == sorted(
        b"0/%d %s" % (number, an_event(number)) for number in range(N_EVENTS)
    )


def test_a_resumed_flow_reads_on_from_its_snapshot(tmp_path: Path) -> None:
    an_events_file(tmp_path)
    store = a_store(tmp_path)
    seen: list[int] = []

    def note(record: Record) -> bool:
        seen.append(record.offset)
        return False

    with pytest.raises(BytewaxRuntimeError):
        run(a_flow(tmp_path, crash=at(640)), store)
    run(a_flow(tmp_path, crash=note), store)
    assert 0 < seen[0] <= 640
    assert seen == list(range(seen[0], N_EVENTS))


# --- any bytes


def test_any_bytes_survive_their_lines(tmp_path: Path) -> None:
    messages = [Outgoing("row/ä", "1", bytes(range(256))), Outgoing("gone", "2", None), Outgoing("empty", "3", b"")]
    sink = FileSink(tmp_path, "rows", packed=True)
    with closing(sink.build_part("out", "00000", None)) as part:
        part.write_batch(messages)
    records = read_all(FileSource(tmp_path, "rows", packed=True))
    assert [(record.key, record.value) for record in records] == [
        (message.key.encode(), message.value) for message in messages
    ]


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"key":"k"}', b'{"key":"k","value":"*"}', b'{"value":""}'])
def test_a_line_that_is_no_packed_message_is_an_error_that_names_the_file(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(line + b"\n")
    part = FileSource(tmp_path, "rows", packed=True).build_part("in", "rows.jsonl", None)
    with closing(part), pytest.raises(FileError, match=r"rows\.jsonl"):
        part.next_batch()
