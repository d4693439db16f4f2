"""`eddy evaluate-policy`: what another strategy would have earned, from logged slates."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
import typer
from rich.console import Console

from dataflows.cli.models import registry_of
from dataflows.cli.personal_data import records_of
from dataflows.cli.policy_figures import show_figures, write_figures
from dataflows.cli.progress import walking
from dataflows.cli.topic_messages import events_of, items_of, known
from dataflows.codecs import decoder_of_slates
from dataflows.errors import EddyError
from dataflows.files.outputs import require_writable
from dataflows.run import settings as configuration
from dataflows.run.conversion import check, name_of
from dataflows.run.resources import text_space
from dataflows.run.settings import Settings
from dataflows.topics import MODEL_UPDATES, RECOMMENDATIONS
from models.counts.item_side import ItemSide
from models.experiments.assign.declaration import DeclarationError
from models.items import ItemTable
from models.messages import Item
from models.names import FEATURE_SET, FUNNEL
from models.numeric.arrays import Doubles
from models.offline.policy.evaluate import Assumption, PolicyFigures, evaluate_policy
from models.offline.policy.rounds import LoggedSlate, Round, rounds_of
from models.offline.policy.target import Order, TargetPolicy
from models.rankers.checkpoint import CheckpointError, load_checkpoint
from models.rankers.served import served
from models.strategy import Strategy, changed

T = TypeVar("T")
LEAST_PUBLISHED = 1e-4
"""Versions say in four digits how probable it is that a position is looked at: 0 is less than that, and not never."""
By: TypeAlias = Literal["strategy", "logged"]

StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        help='What it has other than EDDY_STRATEGY, in JSON: \'{"diversity": 0.4, "sources": {"trending": 1}}\'.',
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Candidates in the order of this ranker.", show_default=False, dir_okay=False),
]
OrderOption = Annotated[
    By,
    typer.Option(
        "--order",
        help="Without --checkpoint. strategy: by its weights of the sources; logged: as they were served.",
    ),
]
AssumptionOption = Annotated[
    Assumption,
    typer.Option(
        "--assume",
        help="What users do with an item depends on whether they look at its place, which is known (examination), "
        "on its place in any way (position), on what stands above it as well (cascade), or on the whole slate: each "
        "needs many more slates than the one before it.",
    ),
]
ExaminationOption = Annotated[
    str | None,
    typer.Option(
        help="With --assume examination: how probable it is that each position is looked at, relative to the first: "
        "`1,0.8,0.7`.",
        show_default="as `learn` has published it",
    ),
]
EventType = Annotated[
    list[str] | None,
    typer.Option(
        "--event-type", help="Acts that are rewards; may be repeated.", show_default="all of a weight above 0"
    ),
]
Alpha = Annotated[float, typer.Option(min=0.0001, max=0.5, help="One less the level of the intervals.")]
Seed = Annotated[int, typer.Option(help="Of what the strategy leaves to chance, and of the reward model's folds.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Also write the figures to this file.", show_default=False, dir_okay=False)
]


def evaluate(
    strategy: StrategyOption = None,
    checkpoint: CheckpointOption = None,
    order: OrderOption = "strategy",
    assume: AssumptionOption = "position",
    examination: ExaminationOption = None,
    event_type: EventType = None,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    out: Json = None,
) -> None:
    """Say what another strategy or ranker would have earned, from the slates that were drawn as a whole.

    Where EDDY_STRATEGY__SAMPLED is above 0, `recommend` draws so many of the slates as a whole and logs what they were
    drawn from. This joins them with what users did (by EDDY_ATTRIBUTION, as `learn` does) and estimates the
    items acted on a slate under another strategy, by the re-ranker that serves: caps, diversity, exchanges and
    exploration as it has them, over the candidates that were found.

    IPS weighs rewards by how much more often the strategy does what was drawn; SNIPS divides by the weights' own mean;
    DR adds a model of the rewards, and is the one to read. Intervals are for one look, over users. `effective` is how
    many slates of the strategy's own would tell as much.

    eddy evaluate-policy --checkpoint ranker.safetensors --strategy '{"diversity": 0.3}' --json out.json
    """
    settings = configuration.load()
    console = Console(stderr=True)
    require_writable(out)
    judged, by = _strategy(strategy, settings), _order(checkpoint, order)
    looked_at = _examination(examination, settings) if assume == "examination" else None
    figures = estimate(
        settings, judged, by, console, assume=assume, examination=looked_at, event_types=event_type or (), seed=seed
    )
    if out is not None:
        write_figures(figures, assume, alpha, out)
    show_figures(figures, assume, alpha, Console())


def estimate(
    settings: Settings,
    judged: Strategy,
    order: Order,
    console: Console,
    *,
    assume: Assumption = "position",
    examination: Doubles | None = None,
    event_types: Sequence[str] = (),
    seed: int = 0,
) -> PolicyFigures:
    """Estimate from the topics what a strategy would have earned.

    Raises
    ------
    EddyError : no slate was drawn, or none that says something of this strategy.
    """
    with console.status("reading slates, events and the catalog"):
        slates = [slate for slate in _slates(settings) if slate.feature_set == FEATURE_SET and slate.consent]
        rounds = list(
            rounds_of(slates, events_of(settings), settings.attribution, settings.events.weights, event_types)
        )
        table = _table_of(rounds, settings)
    with walking(console) as bar:
        task = bar.add_task("making the strategy's slates")
        try:
            return evaluate_policy(
                rounds,
                TargetPolicy(judged, order, table),
                assume,
                seed,
                lambda n, of: bar.update(task, completed=n, total=of),
                examination,
            )
        except ValueError as error:
            raise EddyError(str(error)) from error


def _strategy(changes: str | None, settings: Settings) -> Strategy:
    try:
        given = msgspec.json.decode(changes or "{}", type=dict[str, Any])
        fields = changed(settings.strategy, given)
        check(fields, Strategy)
    except msgspec.DecodeError as error:
        raise EddyError(f"--strategy is no object of JSON: {error}") from error
    except DeclarationError as error:
        raise EddyError(f"--strategy: {name_of(error.path)}{error}") from error
    judged = msgspec.convert(fields, Strategy)
    if judged.rules:
        raise EddyError(
            "a strategy with rules cannot be judged from slates, which do not log what rules ask about items: give "
            """--strategy '{"rules": []}' to judge it without them"""
        )
    return judged


def _examination(given: str | None, settings: Settings) -> Doubles:
    """Read how far users look down a slate: as it is given, else as the newest version of a ranker says."""
    if given is not None:
        try:
            return np.array([float(part) for part in given.split(",")])
        except ValueError as error:
            raise EddyError(f"--examination {given!r} is no list of numbers like 1,0.8,0.7") from error
    registry = registry_of(records_of(settings, MODEL_UPDATES.name))
    versions = [one for name in registry.names for one in registry.versions(name) if one.examination]
    if not versions:
        raise EddyError(
            "no version of a ranker says yet how far users look: let `learn` publish one (EDDY_RANKER__NAME), or give "
            "--examination 1,0.8,0.7"
        )
    published = max(versions, key=lambda one: one.learned_until).examination
    return np.array([max(looked_at, LEAST_PUBLISHED) for looked_at in published])


def _order(checkpoint: Path | None, order: By) -> Order:
    if checkpoint is None:
        return "blend" if order == "strategy" else "logged"
    try:
        trained = load_checkpoint(checkpoint)
    except (OSError, CheckpointError) as error:
        raise EddyError(f"--checkpoint: {error}") from error
    if trained.kind == FUNNEL:
        raise EddyError(f"--checkpoint: {checkpoint} holds a funnel, whose order hangs on prices that no slate logs")
    return served(trained.model)


def _slates(settings: Settings) -> Iterator[LoggedSlate]:
    """Give the slates of users who have not been erased since."""
    decode = decoder_of_slates(LoggedSlate, settings.events, fault=lambda slate: slate.fault)
    by_user: dict[str, list[LoggedSlate]] = {}
    for user, slate in known(decode, records_of(settings, RECOMMENDATIONS.name)):
        if slate is None:
            by_user.pop(user, None)
        else:
            by_user.setdefault(user, []).append(slate)
    for slates in by_user.values():
        yield from slates


def _table_of(rounds: list[Round], settings: Settings) -> ItemTable:
    """Make a table of all candidates: as the catalog has them, or their ids alone."""
    pools = [one.slate.sampled_from for one in rounds if one.slate.sampled_from is not None]
    items = {item_id: Item(item_id) for pool in pools for item_id in pool.item_ids}
    items |= {item_id: item for item_id, item in items_of(settings).items() if item_id in items}
    at = rounds[0].slate.created_at if rounds else 0
    return ItemSide(
        [*items.values()], at, settings.learn, settings.events, settings.profile, text_space(settings.learn)
    ).table
