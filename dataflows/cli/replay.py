"""`eddy replay`: a file's messages, or those of the dead letters, onto a topic."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from dataflows.cli.letters import originals
from dataflows.cli.topics import load_for_cluster
from dataflows.files.lines import read_lines
from dataflows.files.replay import Message, Pace, Sent, as_fast_as_possible, keyed_messages, replay, sped_up, steady
from dataflows.imports.detection import detect
from dataflows.imports.foreign import event_lines, item_lines
from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.run.settings import Settings
from dataflows.topics import DEAD_LETTERS, TOPICS

KEYS = {topic.name: topic.key for topic in TOPICS}

PlatformTopic: TypeAlias = Literal["events", "requests", "catalog", "erasures"]
"""The topics that a platform writes."""
File = Annotated[
    Path | None,
    typer.Argument(
        help="Messages, one a line: .jsonl or .jsonl.gz; or what `eddy import` reads.",
        show_default=False,
        dir_okay=False,
    ),
]
Topic = Annotated[
    PlatformTopic | None,
    typer.Option(help="Where the messages go; of the dead letters, those that came from there.", show_default="events"),
]
Rate = Annotated[float | None, typer.Option(min=0.001, help="Messages a second.", show_default="as fast as possible")]
Faster = Annotated[
    float | None,
    typer.Option(min=0.001, help="Keep the messages' own pace, so many times faster: 60 puts an hour into a minute."),
]
Letters = Annotated[bool, typer.Option("--dead-letters", help="Replay what the dead letters hold instead of a file.")]
Reason = Annotated[str | None, typer.Option(help="Only dead letters of this reason, such as `late`.")]


def replay_messages(
    file: File = None,
    topic: Topic = None,
    rate: Rate = None,
    speed_up: Faster = None,
    dead_letters: Letters = False,
    reason: Reason = None,
) -> None:
    """Write a file's messages onto a topic; or, with --dead-letters, the originals of the dead letters.

    Each line is one message, which goes out as it is, under the key that its topic asks for. Whatever the pace, the
    order of the file is kept, and all is delivered when the command ends.

    Dead letters hold what could not be read, byte for byte. Once what refused them is fixed (an event type was named
    in the settings, say), this puts them back onto their topics; those still refused become dead letters again. The
    letters stay where they are: choose by --reason and --topic what to put back, and do it once. A letter that holds
    only the beginning of a message of over 512 KiB is left out and named.
    """
    _check(file, rate, speed_up, dead_letters, reason)
    pace = steady(rate) if rate else sped_up(speed_up) if speed_up else as_fast_as_possible
    settings = load_for_cluster()
    if file is not None:
        name = topic or "events"
        is_plain = file.suffix == ".jsonl" and file.is_file() and detect(file) is None
        size = file.stat().st_size if is_plain else None
        _send(settings, name, keyed_messages(_lines(file, name, settings), KEYS[name]), pace, size)
        return
    letters = scan(settings.kafka.client(), settings.topics.prefix + DEAD_LETTERS.name)
    found = originals(letters, topic, reason)
    console = Console(stderr=True)
    for line in found.left_out:
        console.print(f"left out: {line}", highlight=False, markup=False)
    if not found.messages:
        console.print("no dead letter of that kind can be put back")
    for source, messages in found.messages.items():
        _send(settings, source, messages, pace, sum(len(message.value or b"") for message in messages))


def _lines(file: Path, topic: PlatformTopic, settings: Settings) -> Iterator[bytes]:
    """Give a file's messages; events and items may be in another form than Eddy's."""
    if topic == "events":
        return event_lines(file, settings.events)
    return item_lines(file, settings.events) if topic == "catalog" else read_lines(file)


def _check(
    file: Path | None, rate: float | None, speed_up: float | None, dead_letters: bool, reason: str | None
) -> None:
    if (file is None) == (not dead_letters):
        raise typer.BadParameter("name either a file or --dead-letters")
    if reason is not None and not dead_letters:
        raise typer.BadParameter("--reason chooses among dead letters: it needs --dead-letters")
    if rate is not None and speed_up is not None:
        raise typer.BadParameter("choose one pace: --rate or --speed-up")


def _send(settings: Settings, topic: str, messages: Iterable[Message], pace: Pace, size: int | None) -> None:
    client = settings.kafka.client() | settings.kafka.producer_options
    writer = KafkaWriter(client, settings.topics.prefix + topic)
    with _progress(topic, size) as (progress, task):

        def report(sent: Sent) -> None:
            progress.update(task, completed=sent.n_bytes, sent=_summary(sent))

        sent = replay(writer, messages, pace, report, time.monotonic, time.sleep)
    Console(stderr=True).print(f"{settings.topics.prefix}{topic}: {_summary(sent)}", highlight=False)


@contextmanager
def _progress(topic: str, size: int | None) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        SpinnerColumn(),
        TextColumn(topic),
        BarColumn(),
        TextColumn("{task.fields[sent]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task(topic, total=size, sent="")


def _summary(sent: Sent) -> str:
    rate = f", {sent.n_messages / sent.seconds:,.0f}/s" if sent.seconds > 0 else ""
    return f"{sent.n_messages:,} messages, {sent.n_bytes / 1e6:,.1f} MB{rate}"
