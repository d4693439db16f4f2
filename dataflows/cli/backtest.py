"""`eddy backtest`: what the flow would have recommended, judged by what people did next."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dataflows.cli.line_plot import line_plot
from dataflows.cli.preset_option import PresetOption
from dataflows.errors import EddyError
from dataflows.files.event_files import load_events, load_items
from dataflows.run import settings as configuration
from dataflows.run.settings import Settings

if TYPE_CHECKING:
    from models.numeric.arrays import Doubles
    from models.offline.backtest.config import BacktestConfig
    from models.offline.backtest.predictions import Outcomes
    from models.offline.backtest.session_protocol import Progress as Tell


class Protocol(StrEnum):
    """How the past is parted into what is known and what is foreseen."""

    SESSION = "session"
    PREQUENTIAL = "prequential"


class Repeats(StrEnum):
    """What becomes of consecutive acts on one item within a session."""

    COLLAPSE = "collapse"
    KEEP = "keep"


class Ties(StrEnum):
    """What acts of one user at the same time know of each other."""

    STRICT = "strict"
    ORDER = "order"


File = Path | None
Train = Annotated[File, typer.Option(help="session: events to learn from, .jsonl or .jsonl.gz.", dir_okay=False)]
Test = Annotated[File, typer.Option(help="session: events whose sessions are foreseen.", dir_okay=False)]
Events = Annotated[File, typer.Option(help="prequential: the whole stream.", dir_okay=False)]
Catalog = Annotated[File, typer.Option(help="The items: titles, categories, prices. None: ids alone.", dir_okay=False)]
ProtocolOption = Annotated[
    Protocol,
    typer.Option(
        help="session: learn one file, then foresee each next act of the other's sessions. "
        "prequential: one pass; recommend, score, then learn."
    ),
]
K = Annotated[int, typer.Option("-k", min=1, max=100, help="Length of a slate.")]
Out = Annotated[File, typer.Option("--json", help="Where the figures go.", dir_okay=False)]
Plot = Annotated[File, typer.Option("--plot", help="Where a picture of the hit rates over time goes, .svg.")]
Warmup = Annotated[float, typer.Option(min=0, max=0.99, help="prequential: first share of the acts, not judged.")]
ExcludeSeen = Annotated[bool, typer.Option("--exclude-seen", help="Never recommend what the user has acted on.")]
RepeatsOption = Annotated[
    Repeats,
    typer.Option(
        help="collapse: of consecutive acts on one item in a session the first counts, and the item that the user "
        "is on is not recommended. keep: all count, and it may be."
    ),
]
TiesOption = Annotated[
    Ties, typer.Option(help="prequential: whether one user's acts of the same time may see each other (order).")
]
LearnEvery = Annotated[
    int, typer.Option(min=1, help="prequential: events after which the tables learn them; 256 is fast, and knows less.")
]


def backtest(
    protocol: ProtocolOption,
    train: Train = None,
    test: Test = None,
    events: Events = None,
    catalog: Catalog = None,
    k: K = 20,
    out: Out = None,
    plot: Plot = None,
    warmup: Warmup = 0.1,
    exclude_seen: ExcludeSeen = False,
    repeats: RepeatsOption = Repeats.COLLAPSE,
    ties: TiesOption = Ties.STRICT,
    learn_every: LearnEvery = 1,
    preset: PresetOption = None,
) -> None:
    """Judge the recommender, and every simpler way, on what people really did.

    All is computed by the functions that the flows run. Every item known competes for every place; an item that ties
    with the wanted one counts as before it; nothing is foreseen by what was learned from it. What is judged is each
    act, that is each event whose type has a weight above 0 (EDDY_EVENTS__WEIGHTS), with the user's consent.

    `eddy` is the default pipeline under EDDY_STRATEGY or a preset, without exploration, for the past cannot answer
    for what it did not show. Its ranker is trained on the way, on slates of the past alone: on those of the training
    file, or anew whenever the stream has doubled. Where it is no better than the blend on the newest fifth of them, the
    blend stays.

    Intervals are 95% bootstraps over users. Times are those of one slate made alone, on one thread.

    eddy backtest --protocol session --train train.jsonl.gz --test test.jsonl.gz -k 20 --json out.json

    eddy backtest --protocol prequential --events all.jsonl.gz --warmup 0.1 -k 20 --exclude-seen --json out.json
    """
    import torch  # noqa: PLC0415  # it and numba are slow

    from dataflows.run.text_spaces import text_space  # noqa: PLC0415
    from models.offline.backtest.config import BacktestConfig  # noqa: PLC0415
    from models.offline.backtest.field import DEFAULT  # noqa: PLC0415
    from models.offline.backtest.over_time import over_time  # noqa: PLC0415
    from models.offline.backtest.report import report  # noqa: PLC0415

    torch.set_num_threads(1)
    settings = configuration.load(preset=preset)
    console = Console(stderr=True)
    config = BacktestConfig(
        k=k,
        repeats=repeats.value,
        exclude_seen=exclude_seen,
        ties=ties.value,
        warmup=warmup,
        learn_every=learn_every,
        events=settings.events,
        profile=settings.profile,
        item_side=settings.learn,
        texts=text_space(settings.learn.text),
    )
    if protocol is Protocol.SESSION:
        outcomes = _sessions(_asked(train, "--train"), _asked(test, "--test"), catalog, config, settings, console)
    else:
        outcomes = _prequential(_asked(events, "--events"), catalog, config, settings, console)
    with console.status("how sure the figures are"):
        told = report(outcomes, protocol.value, k, DEFAULT, config.seed)
    if out is not None:
        _write(json.dumps(told, indent=1) + "\n", out)
    if plot is not None:
        slices = over_time(outcomes, k)
        _write(line_plot(f"HR@{k} over time", slices.at.tolist(), _lists(slices.hit_rates)), plot)
    _show(told)


def _asked(path: Path | None, option: str) -> Path:
    if path is None:
        raise typer.BadParameter(f"this protocol needs {option}")
    return path


def _sessions(
    train: Path, test: Path, catalog: Path | None, config: "BacktestConfig", settings: Settings, console: Console
) -> "Outcomes":
    from models.offline.backtest.run import backtest_sessions  # noqa: PLC0415  # torch is slow

    with console.status(f"reading {train} and {test}"):
        past, future = load_events(train, settings.events), load_events(test, settings.events)
        items = load_items(catalog, settings.events) if catalog else []
    with _progress(console) as tell:
        try:
            return backtest_sessions(past, future, items, settings.strategy, config, time.perf_counter_ns, tell)
        except ValueError as error:
            raise EddyError(f"{train}: {error}") from error


def _prequential(
    events: Path, catalog: Path | None, config: "BacktestConfig", settings: Settings, console: Console
) -> "Outcomes":
    from models.offline.backtest.run import backtest_prequential  # noqa: PLC0415  # torch is slow

    with console.status(f"reading {events}"):
        stream = load_events(events, settings.events)
        items = load_items(catalog, settings.events) if catalog else []
    with _progress(console) as tell:
        return backtest_prequential(
            stream, items, settings.strategy, config,
            time.perf_counter_ns, tell,
        )  # fmt: skip


@contextmanager
def _progress(console: Console) -> Iterator["Tell"]:
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(what: str, n: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=n, total=of)

        yield tell


def _lists(lines: "dict[str, Doubles]") -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in lines.items()}


def _write(text: str, path: Path) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise EddyError(f"{path} cannot be written: {error.strerror}") from error


def _show(told: dict[str, Any]) -> None:
    """Print the table for people; wide enough for a file or a pipe, whatever the terminal."""
    k = told["k"]
    table = Table(title=f"{told['protocol']}, {told['n']:,} predictions")
    table.add_column("", no_wrap=True)
    for name in (f"HR@{k}", f"MRR@{k}", f"NDCG@{k}", "coverage", "novelty", "us p50", "us p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, figures in told["models"].items():
        table.add_row(
            name,
            f"{figures['hr']:.4f} ±{_half(figures['hr_95']):.3f}",
            f"{figures['mrr']:.4f} ±{_half(figures['mrr_95']):.3f}",
            f"{figures['ndcg']:.4f}",
            f"{figures['coverage']:.3f}",
            f"{figures['novelty']:.1f}",
            f"{figures['us_p50']:.0f}",
            f"{figures['us_p99']:.0f}",
            style="bold" if name == told["default"] else None,
        )
    console = Console(width=max(Console().width, 110))
    console.print(table)
    for figure, beside in told["significance"].items():
        if beside is not None:
            console.print(
                f"{figure.upper()}: {told['default']} {beside['difference']:+.4f} beside {beside['baseline']} "
                f"(95% {beside['difference_95'][0]:+.4f} to {beside['difference_95'][1]:+.4f}, p {beside['p']:.4f})",
                highlight=False,
            )


def _half(bounds: list[float]) -> float:
    """Return half the width of an interval."""
    return (bounds[1] - bounds[0]) / 2
