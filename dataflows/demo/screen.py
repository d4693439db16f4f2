"""The demo's live view in the terminal."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dataflows.demo.judge import Judge, ReceivedSlate
from models.messages import Event

N_SHOWN = 6


def live_view(
    judge: Judge,
    n_events: int,
    seconds: float,
    titles: dict[str, str],
    recent: list[Event],
    notice: str,
    believed: Mapping[str, str] | None = None,
) -> RenderableType:
    """Draw rates and latency, one user's events beside their slate, and the variants' hit rates.

    Events after the one that made the slate are marked where the slate predicted them, with their position on it.

    Parameters
    ----------
    recent : the shown user's last events, newest first.
    believed : why a slate's order may be believed, by the version of the ranker that made it.
    """
    head = Table.grid(padding=(0, 3))
    head.add_row(
        ProgressBar(n_events, judge.n_events, width=30),
        f"[bold]{judge.n_events}[/] of {n_events} events",
        f"{judge.n_events / max(seconds, 0.1):.0f} events/s",
        f"[bold]{judge.n_slates}[/] slates",
        f"event → slate in hand: p50 {judge.latency(0.5, 500):.0f} ms, p99 {judge.latency(0.99, 500):.0f} ms",
    )
    slate = judge.newest.get(recent[0].user_id) if recent else None
    beside = Table.grid(expand=True, padding=(0, 1))
    beside.add_column(ratio=2)
    beside.add_column(ratio=3)
    beside.add_row(_history(recent, slate, titles), _slate(recent, slate, titles, believed or {}))
    return Group(Panel(head, title="Eddy", subtitle=notice), beside, Panel(variants(judge), title="hit rate so far"))


def _n_after(recent: list[Event], slate: ReceivedSlate | None) -> int:
    """Count the events, newest first, that came after the one that made the slate."""
    triggers = [event.event_id for event in recent]
    return triggers.index(slate.trigger_id) if slate and slate.trigger_id in triggers else 0


def _history(recent: list[Event], slate: ReceivedSlate | None, titles: dict[str, str]) -> Panel:
    table = Table.grid(padding=(0, 1))
    positions = {row.item_id: position for position, row in enumerate(slate.items, 1)} if slate else {}
    for n, event in enumerate(recent[:N_SHOWN]):
        position = positions.get(event.item_id) if n < _n_after(recent, slate) else None
        table.add_row(
            f"{event.value or 0:.1f}★",
            Text(titles.get(event.item_id, event.item_id), overflow="ellipsis"),
            f"[green]✓ {position}.[/]" if position else "",
        )
    who = recent[0].user_id if recent else "nobody yet"
    return Panel(table, title=f"{who} has just rated")


def _slate(
    recent: list[Event], slate: ReceivedSlate | None, titles: dict[str, str], believed: Mapping[str, str]
) -> Panel:
    table = Table.grid(padding=(0, 1))
    for position, row in enumerate(slate.items[:N_SHOWN] if slate else [], 1):
        title = Text(titles.get(row.item_id, row.item_id), overflow="ellipsis", no_wrap=True)
        table.add_row(f"{position}.", title, Text(row.reason, style="dim", overflow="ellipsis", no_wrap=True))
    if slate is None:
        return Panel(table, title="and gets")
    verb = "and had got before" if _n_after(recent, slate) else "and gets"
    why = believed.get(slate.model_version.partition("@")[0])
    return Panel(table, title=f"{verb} ({slate.variant})", subtitle=why and Text(why, style="dim"))


def variants(judge: Judge) -> Table:
    """Draw one row a variant."""
    table = Table(box=None, pad_edge=False)
    for heading in ("variant", "users", "slates", "judged", "hits", "hit rate", "coverage"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, tally in sorted(judge.tallies.items()):
        rate = tally.hits / tally.judged if tally.judged else 0.0
        coverage = len(tally.items) / judge.n_items
        table.add_row(
            name, str(len(tally.users)), str(tally.slates), str(tally.judged), str(tally.hits), f"{rate:.2%}",
            f"{coverage:.1%}",
        )  # fmt: skip
    return table
