"""`eddy tune`: a search for the settings that rank the past best."""

import json
import math
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dataflows.cli.progress import walking
from dataflows.cli.train import Catalog, Events, MinExamples, read_past, walk_config
from dataflows.errors import EddyError
from dataflows.files.outputs import require_writable
from dataflows.run import settings as configuration
from models.messages import Event, Item, Request
from models.names import NETWORKS
from models.offline.fitting import LEAST_EXAMPLES
from models.offline.tune import Trial, TuningConfig, tune

N_SHOWN = 5
DEFAULTS = TuningConfig()
TUNABLE = ("blend", *NETWORKS)

Rankers = Annotated[
    list[str] | None,
    typer.Option("--ranker", help="What to try; may be given several times.", show_default=", ".join(DEFAULTS.rankers)),
]
Trials = Annotated[int, typer.Option(min=1, help="The budget: at most so many trials.")]
Seconds = Annotated[float | None, typer.Option(min=1, help="The budget: after so long no trial begins.")]
Seed = Annotated[int, typer.Option(help="Of the search.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write all trials to this file.")]


def tune_ranker(
    events: Events,
    catalog: Catalog = None,
    rankers: Rankers = None,
    trials: Trials = 40,
    seconds: Seconds = None,
    min_examples: MinExamples = LEAST_EXAMPLES,
    seed: Seed = 0,
    out: Json = None,
) -> None:
    """Search for the blend's weights and for a network's settings within a budget.

    Walks once through the first four fifths of the past, as `eddy train` does, and compares trials on the newest fifth
    of the slates that it made: the best one is that with the highest NDCG@10. It ends with the setting or the
    command that makes the best use of it; what lies behind the four fifths is left for `eddy train` to judge on.
    """
    tried = tuple(rankers or DEFAULTS.rankers)
    if unknown := sorted(set(tried) - set(TUNABLE)):
        raise typer.BadParameter(f"no ranker is called {', '.join(unknown)}: there are {', '.join(TUNABLE)}")
    settings, console = configuration.load(), Console(stderr=True)
    require_writable(out)
    past, items = read_past(events, catalog, settings, console)
    config = TuningConfig(
        walk_config(settings),
        tried,
        n_trials=trials,
        seconds=seconds or math.inf,
        least_examples=min_examples,
        seed=seed,
    )
    found = _search(past, items, config, console)
    if out is not None:
        out.write_text(json.dumps([_record(trial) for trial in found], indent=2))
    table = Table(
        "ranker",
        "HR@10",
        "MRR",
        "NDCG@10",
        "settings",
        title=f"the best of {len(found)} trials, on {found[0].earned.n:,} slates",
    )
    for trial in found[:N_SHOWN]:
        earned = trial.earned
        settings_text = ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in trial.settings.items()
        )
        table.add_row(trial.ranker, f"{earned.hit_rate:.4f}", f"{earned.mrr:.4f}", f"{earned.ndcg:.4f}", settings_text)
    console.print(table)
    typer.echo(_advice(found[0], events, catalog))


def _search(past: list[Event | Request], items: list[Item], config: TuningConfig, console: Console) -> list[Trial]:
    with walking(console) as bar:
        walked = bar.add_task("walking through the past", total=len(past))
        tried = bar.add_task("trying", total=config.n_trials)
        try:
            return tune(
                past,
                items,
                config,
                lambda n, of: bar.update(walked, completed=n, total=of),
                lambda trial: bar.update(tried, advance=1, description=f"{trial.ranker} {trial.earned.ndcg:.4f}"),
            )
        except ImportError as error:
            raise EddyError("`eddy tune` needs the extra `tune`: pip install 'eddy-recs[tune]'") from error
        except ValueError as error:
            raise EddyError(str(error)) from error


def _record(trial: Trial) -> dict[str, object]:
    earned = trial.earned
    return {
        "ranker": trial.ranker,
        "settings": trial.settings,
        "n_judged": earned.n,
        "hr@10": earned.hit_rate,
        "mrr": earned.mrr,
        "ndcg@10": earned.ndcg,
    }


def _advice(best: Trial, events: Path, catalog: Path | None) -> str:
    """Say how the best settings are used."""
    if best.ranker == "blend":
        return f"EDDY_STRATEGY__SOURCES={shlex.quote(json.dumps(best.settings))}"
    options = [f"--{name.replace('_', '-')} {value}" for name, value in best.settings.items()]
    items = [f"--catalog {shlex.quote(str(catalog))}"] if catalog else []
    out = f"--out {best.ranker}.safetensors"
    return " ".join(["eddy train", shlex.quote(str(events)), *items, f"--model {best.ranker}", *options, out])
