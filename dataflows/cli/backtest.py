"""`eddy backtest`: what the flow would have recommended, judged by what people did next."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
import typer
from rich.console import Console
from rich.progress import TaskID

from dataflows.cli.backtest_figures import plot_hit_rates, show
from dataflows.cli.backtest_page import backtest_page
from dataflows.cli.progress import walking
from dataflows.cli.setting_list import PresetOption
from dataflows.cli.train import FIT, chosen_kind, load_trained
from dataflows.errors import EddyError
from dataflows.files.event_files import load_events, load_items
from dataflows.files.outputs import require_writable
from dataflows.run import settings as configuration
from dataflows.run.resources import text_space
from dataflows.run.settings import Settings
from models.names import FineTune, NetworkName
from models.offline.backtest.config import BacktestConfig, Progress, Repeats, Ties
from models.offline.backtest.contenders import DEFAULT
from models.offline.backtest.leave_one_out import backtest_leave_one_out
from models.offline.backtest.outcomes import Outcomes, over_time
from models.offline.backtest.prequential import backtest_prequential
from models.offline.backtest.report import report
from models.offline.backtest.session_protocol import backtest_sessions
from models.rankers.fit import TrainConfig
from models.sequence.config import SequenceTraining

Protocol: TypeAlias = Literal["session", "prequential", "leave-one-out"]
"""How the past is split into what is known and what is predicted."""
ONE_FILE: dict[Protocol, Callable[..., Outcomes]] = {
    "prequential": backtest_prequential,
    "leave-one-out": backtest_leave_one_out,
}
"""Protocols that split one file themselves."""
DEFAULTS = BacktestConfig()

File = Path | None
Train = Annotated[File, typer.Option(help="session: events to learn from, .jsonl or .jsonl.gz.", dir_okay=False)]
Test = Annotated[File, typer.Option(help="session: events whose sessions are predicted.", dir_okay=False)]
Events = Annotated[File, typer.Option(help="prequential, leave-one-out: all events.", dir_okay=False)]
Catalog = Annotated[File, typer.Option(help="The items: titles, categories, prices. None: ids alone.", dir_okay=False)]
ProtocolOption = Annotated[
    Protocol,
    typer.Option(
        help="session: learn one file, then predict each next act of the other's sessions. "
        "prequential: one pass; recommend, score, then learn. "
        "leave-one-out: learn all acts of each user but the last two, choose by the second last, predict the last."
    ),
]
K = Annotated[int, typer.Option("-k", min=1, max=100, help="Length of a slate.")]
Out = Annotated[File, typer.Option("--json", help="Where the figures go.", dir_okay=False)]
Plot = Annotated[File, typer.Option("--plot", help="Where a picture of the hit rates over time goes, .svg.")]
Page = Annotated[File, typer.Option("--report", help="Where a page for people goes, all in one file, .html.")]
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
    int,
    typer.Option(min=1, help="prequential: events after which the tables learn them; 1 knows the most, and is slow."),
]
CheckpointOption = Annotated[
    File, typer.Option("--checkpoint", help="Judge this ranker as it is, and train none.", dir_okay=False)
]
RankerOption = Annotated[
    NetworkName | None,
    typer.Option(
        "--ranker", help="The ranker that is trained on the way.", show_default="mlp, or the checkpoint's kind"
    ),
]
SequenceOption = Annotated[
    bool,
    typer.Option(
        "--sequence/--no-sequence",
        help="Train a sequence model on the way, for the source `sequence`.",
    ),
]
FitSourcesOption = Annotated[
    bool,
    typer.Option(
        "--fit-sources/--no-fit-sources",
        help="Fit what the candidate sources weigh, by the length of a session, to the past.",
    ),
]
FineTuneOption = Annotated[
    FineTune | None,
    typer.Option(
        "--fine-tune",
        help="With --checkpoint: train it further on the way, whole or by an adapter.",
        show_default=False,
    ),
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
    page: Page = None,
    warmup: Warmup = 0.1,
    exclude_seen: ExcludeSeen = False,
    repeats: RepeatsOption = "collapse",
    ties: TiesOption = "strict",
    learn_every: LearnEvery = DEFAULTS.learn_every,
    checkpoint: CheckpointOption = None,
    ranker: RankerOption = None,
    fine_tune: FineTuneOption = None,
    sequence: SequenceOption = True,
    fit_sources: FitSourcesOption = True,
    preset: PresetOption = None,
) -> None:
    """Judge the recommender, and every simpler way, on what people really did.

    All is computed by the functions that the flows run. Every item known competes for every position; an item that
    ties with the next one counts as before it; nothing is predicted by what was learned from it. What is judged is each
    act, that is each event whose type has a weight above 0 (EDDY_EVENTS__WEIGHTS), with the user's consent.

    `eddy` is the default pipeline under EDDY_STRATEGY or a preset, without exploration, for the past cannot answer
    for what it did not show. Its ranker is trained on the way, on slates of the past alone: on those of the training
    file, or again whenever the stream has doubled. Where it is no better than the blend on the newest fifth of them,
    the blend stays.

    leave-one-out is how the literature compares: for users with three acts or more, `-k 10`, all items ranked. The
    tables then hold acts of others that are later than the target, so its figures stand beside published ones, and
    prequential says what a stream would have earned. Each user's second last act chooses whether the ranker is taken,
    and whether sessions and half-lives hold as set or a user's whole past counts alike.

    A sequence model is trained on the way as well, on users' acts alone, and proposes items beside the other sources
    (`sequence` is its row); what a ranker learns from is asked with a model that has not seen the answers.
    --no-sequence leaves it out, and takes half the time.

    What the sources weigh is fitted to the same past, for each length of a session, and taken where that puts what came
    next higher among the candidates of the newest slates; a strategy that has weights by session keeps them, and
    --no-fit-sources keeps what is set.

    `own_items` are the user's own, newest first; `mf` is matrix factorisation by alternating least squares and `ease` a
    linear model in closed form, where the test is frozen; `ease` learns at most the 15,000 items of most users.

    A --checkpoint, also one of another domain, is judged as it is in the place of that ranker; with --fine-tune it is
    trained further as the past goes by. One that says that it has learned what is judged is refused.

    Intervals are 95% bootstraps over users. Times are those of one slate made alone, on one thread.

    eddy backtest --protocol session --train train.jsonl.gz --test test.jsonl.gz -k 20 --json out.json

    eddy backtest --protocol prequential --events all.jsonl.gz --warmup 0.1 -k 20 --exclude-seen --json out.json

    eddy backtest --protocol leave-one-out --events all.jsonl.gz --catalog catalog.jsonl.gz -k 10 --json out.json
    """
    torch.set_num_threads(1)
    settings = configuration.load(preset=preset)
    console = Console(stderr=True)
    require_writable(out, plot, page)
    if fine_tune is not None and checkpoint is None:
        raise typer.BadParameter("--fine-tune needs a --checkpoint to begin with")
    trained = load_trained(checkpoint, "--checkpoint") if checkpoint else None
    fit = TrainConfig(
        kind=chosen_kind(trained, ranker, "--checkpoint", "--ranker"),
        loss=trained.loss if trained else FIT.loss,
        fine_tune=fine_tune or FIT.fine_tune,
    )
    config = BacktestConfig(
        k=k,
        repeats=repeats,
        exclude_seen=exclude_seen,
        ties=ties,
        warmup=warmup,
        learn_every=learn_every,
        events=settings.events,
        profile=settings.profile,
        item_side=settings.learn,
        texts=text_space(settings.learn),
        fit=fit,
        checkpoint=trained,
        fine_tunes=fine_tune is not None,
        trains_sequence=sequence,
        fits_sources=fit_sources,
        sequence=SequenceTraining(n_threads=os.cpu_count() or 1),
    )
    if protocol == "session":
        outcomes = _sessions(_asked(train, "--train"), _asked(test, "--test"), catalog, config, settings, console)
    else:
        outcomes = _of_one_file(protocol, _asked(events, "--events"), catalog, config, settings, console)
    with console.status("how sure the figures are"):
        figures = report(outcomes, protocol, k, DEFAULT, config.seed)
    show(figures)  # first: should a file not be written, hours are not lost
    if out is not None:
        _write(json.dumps(figures, indent=1) + "\n", out)
    if plot is not None:
        _write(plot_hit_rates(f"HR@{k} over time", over_time(outcomes, k)), plot)
    if page is not None:
        examples = outcomes.records[DEFAULT].sample.by_user.values()
        _write(backtest_page(figures, over_time(outcomes, k), list(examples)), page)


def _asked(path: Path | None, option: str) -> Path:
    if path is None:
        raise typer.BadParameter(f"this protocol needs {option}")
    return path


def _sessions(
    train: Path, test: Path, catalog: Path | None, config: BacktestConfig, settings: Settings, console: Console
) -> Outcomes:
    with console.status(f"reading {train} and {test}"):
        past, future = load_events(train, settings.events), load_events(test, settings.events)
        items = load_items(catalog, settings.events) if catalog else []
    with _progress(console) as progress:
        try:
            return backtest_sessions(past, future, items, settings.strategy, config, time.perf_counter_ns, progress)
        except ValueError as error:
            raise EddyError(f"{train}: {error}") from error


def _of_one_file(
    protocol: Protocol,
    events: Path,
    catalog: Path | None,
    config: BacktestConfig,
    settings: Settings,
    console: Console,
) -> Outcomes:
    with console.status(f"reading {events}"):
        stream = load_events(events, settings.events)
        items = load_items(catalog, settings.events) if catalog else []
    with _progress(console) as progress:
        try:
            return ONE_FILE[protocol](stream, items, settings.strategy, config, time.perf_counter_ns, progress)
        except ValueError as error:
            raise EddyError(f"{events}: {error}") from error


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    with walking(console) as bar:
        tasks: dict[str, int] = {}

        def report_progress(what: str, n: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(TaskID(tasks[what]), completed=n, total=of)

        yield report_progress


def _write(text: str, path: Path) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise EddyError(f"{path} cannot be written: {error.strerror}") from error
