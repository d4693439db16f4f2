"""The demo's slates that are drawn as a whole: what they say of an order that most people were not shown."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from dataflows.cli.evaluate_policy import estimate
from dataflows.cli.policy_figures import show_figures
from dataflows.errors import EddyError
from dataflows.run.infrastructure import KafkaSettings
from dataflows.run.settings import Settings
from models.rankers.checkpoint import load_checkpoint
from models.rankers.served import served
from models.strategy import Strategy

WINDOW_S = 10
"""For which an act counts for a slate: the demo's people act every few seconds, and it ends within minutes."""
TEMPERATURE = 0.5
"""Half of what is usual: so few slates only tell something of orders that are like theirs."""
ALPHA = 0.05


def experiments_file(folder: Path, sampled: float) -> Path:
    """Return the demo's experiment; where slates are drawn, a copy whose variants draw that share."""
    shipped = Path(str(files("dataflows.demo") / "experiments.yaml"))
    if not sampled:
        return shipped
    declared = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    for variant in declared["experiments"][0]["variants"]:
        variant["strategy"] |= {"sampled": sampled, "exploration_temperature": TEMPERATURE}
    path = folder / "experiments.yaml"
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    return path


def show_learned_order(
    settings: Settings, kafka: KafkaSettings, prefix: str, checkpoint: Path, console: Console
) -> None:
    """Estimate from the drawn slates of all variants what the learned order would have earned everybody."""
    settings = settings.model_copy(
        update={
            "kafka": kafka,
            "topics": settings.topics.model_copy(update={"prefix": prefix, "folder": None}),
            "attribution": replace(settings.attribution, window_s=WINDOW_S),
        }
    )
    try:
        figures = estimate(
            settings,
            Strategy(),
            served(load_checkpoint(checkpoint).model),
            console,
            assume="examination",
            examination=np.ones(1),  # these people see no slate, so they look at all of it alike
        )
    except EddyError as error:
        console.print(f"of the learned order the drawn slates say nothing: {error}", style="yellow", highlight=False)
        return
    console.print(
        f"the learned ranker for everybody, estimated from the slates that were drawn as a whole (an act within "
        f"{WINDOW_S} s counts); `eddy evaluate-policy` does so on your own log",
        highlight=False,
    )
    show_figures(figures, "examination", ALPHA, console)
