"""`eddy tail`: messages as a person reads them, as they are written."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from dataflows.cli.topics import load_for_cluster
from dataflows.contract import described_topics
from dataflows.errors import EddyError
from dataflows.kafka.reader import KafkaReader
from dataflows.records import Record
from dataflows.topics import RECOMMENDATIONS

POLL_S = 0.5
N_TOLD = 300
"""Characters of a text that others wrote."""
NAMES = tuple(topic.name for topic in described_topics())


def tail(
    topic: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")] = RECOMMENDATIONS.name,
    user: Annotated[str | None, typer.Option(help="Only what is about this user.", show_default=False)] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="End after so many.", show_default="Ctrl-C")] = None,
    earliest: Annotated[bool, typer.Option("--from-beginning", help="Begin with what is there already.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long.", show_default="Ctrl-C")] = None,
) -> None:
    """Print slates, events, dead letters and all other messages as a person reads them, as they are written."""
    if topic not in NAMES:
        raise EddyError(f"no topic {topic!r} has messages to read: there are {', '.join(NAMES)}")
    settings, console = load_for_cluster(), Console()
    reader = KafkaReader(
        settings.kafka.client(), [settings.topics.prefix + topic], start="earliest" if earliest else "latest"
    )
    try:
        found = (record for record in _records(reader, seconds) if user is None or _is_about(user, record))
        for record in islice(found, n):
            console.print(told(topic, record), highlight=False, emoji=False)
    except KeyboardInterrupt:
        pass
    finally:
        reader.close()


def _records(reader: KafkaReader, seconds: float | None) -> Iterator[Record]:
    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        for batch in reader.poll(POLL_S):
            yield from batch.records


def _is_about(user: str, record: Record) -> bool:
    if record.key == user.encode():
        return True
    try:
        message = msgspec.json.decode(record.value or b"null")
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("user_id") == user


def told(topic: str, record: Record) -> str:
    """Write a message for a person, in rich's markup; what cannot be read is shown as it is."""
    key = _short((record.key or b"").decode(errors="replace"))
    head = f"[dim]{_clock(record.timestamp)}[/dim] [bold]{key}[/bold]"
    if record.value is None:
        return f"{head} [red]taken away[/red]"
    try:
        return f"{head} {_WORDS.get(topic, _fields)(msgspec.json.decode(record.value))}"
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, AttributeError, ValueError, ArithmeticError):
        return f"{head} {_short(record.value.decode(errors='replace'))}"


def _slate(slate: dict[str, Any]) -> str:
    arm = f", {slate['experiment']} {slate['variant']}" if slate.get("variant") else ""
    head = f"for the {slate['trigger']} {slate['trigger_id']}, by {slate['model_version']}{arm}"
    return "\n".join(
        [escape(_short(head)), *map(_item, slate["items"])] if slate["items"] else [f"{escape(head)}: empty"]
    )


def _item(item: dict[str, Any]) -> str:
    chances = " ".join(
        f"{stage} {item[f'p_{stage}']:.1%}" for stage in ("click", "purchase") if item.get(f"p_{stage}") is not None
    )
    drawn = f" drawn with {item['propensity']:.2f}" if item["propensity"] < 1 else ""
    return (
        f"  {item['position'] + 1:>2}. {_short(item['item_id'])}  [dim]{_short(item['reason'])} "
        f"({_short(item['source'])}, {item['score']:.3f}){drawn}[/dim]{'  ' if chances else ''}{chances}"
    )


def _letter(letter: dict[str, Any]) -> str:
    where = f"{letter['topic']}/{letter['partition']}, offset {letter['offset']}"
    return f"[red]{_short(letter['reason'])}[/red] {_short(letter['detail'])} [dim]({_short(where)})[/dim]"


def _event(event: dict[str, Any]) -> str:
    value = "" if event.get("value") is None else f" ({event['value']:g})"
    return f"{_short(event['event_type'])} {_short(event['item_id'])}{value}"


def _assignment(assignment: dict[str, Any]) -> str:
    return _short(f"is {assignment['variant']} in {assignment['experiment']}")


def _result(result: dict[str, Any]) -> str:
    users = sum(variant["users"] for variant in result["variants"])
    return _short(f"{result['verdict']} by {result['goal']}, {users:,} users")


def _fields(message: dict[str, Any]) -> str:
    return escape(
        _short(", ".join(f"{name} {value}" for name, value in message.items() if value not in (None, [], {})))
    )


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "recommendations": _slate,
    "dead-letters": _letter,
    "events": _event,
    "assignments": _assignment,
    "experiment-results": _result,
}


def _clock(at: int) -> str:
    try:
        return datetime.fromtimestamp(at / 1_000, UTC).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"time {at}"  # a producer may write any


def _short(text: object) -> str:
    """Cut a text that others wrote, without control characters, which a terminal obeys, and without markup."""
    kept = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(text))
    return escape(kept if len(kept) <= N_TOLD else f"{kept[:N_TOLD]}…")
