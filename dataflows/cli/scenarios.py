"""`eddy simulate --scenario`: experiments whose traffic moves, through the code that judges the real ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from models.experiments.simulate.runs import SimulatedRun, simulate_scenario
from models.experiments.simulate.scenario import Scenario


def run_scenario(scenario: Scenario, runs: int, seed: int) -> list[SimulatedRun]:
    """Simulate it so many times, and show how far that has come."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        return list(progress.track(simulate_scenario(scenario, runs, seed), total=runs, description=scenario.name))


def figures_of(scenario: Scenario, found: Sequence[SimulatedRun]) -> dict[str, Any]:
    """Sum up what the runs found."""
    decided = [run.users_at_decision for run in found if np.isfinite(run.users_at_decision)]
    return {
        "scenario": scenario.name,
        "runs": len(found),
        "looks": scenario.looks,
        "users": scenario.users,
        "variants": scenario.variants,
        "lift": scenario.lift,
        "harm": scenario.harm,
        "cuped": scenario.cuped,
        "positive_rate": float(np.mean([run.is_called for run in found])),
        "naive_positive_rate": float(np.mean([run.naive for run in found])),
        "pooled_positive_rate": float(np.mean([run.pooled for run in found])),
        "right_rate": float(np.mean([run.is_right for run in found])),
        "fallbacks": sum(run.fell_back for run in found),
        "moves": float(np.mean([run.moves for run in found])),
        "median_users_at_verdict": int(np.median(decided)) if decided else None,
    }


def show_figures(scenario: Scenario, figures: dict[str, Any]) -> None:
    """Print them as a table."""
    title = (
        f"{scenario.name}: {figures['runs']:,} experiments of {scenario.variants} variants, {scenario.users:,} users, "
        f"{scenario.looks} looks, true lift {scenario.lift:+.1%}"
    )
    table = Table("", "", title=title, show_header=False)
    users = figures["median_users_at_verdict"]
    table.add_row("a treatment called a winner or harmful, at any look", f"{figures['positive_rate']:.1%}")
    table.add_row("decided for the last variant", f"{figures['right_rate']:.1%}")
    table.add_row("called by the same sequence over pooled users", f"{figures['pooled_positive_rate']:.1%}")
    table.add_row("called by a naive test of pooled users at each look", f"{figures['naive_positive_rate']:.1%}")
    table.add_row("experiments that took a decision or a stop back", f"{figures['fallbacks']:,}")
    table.add_row("moves of the traffic, mean", f"{figures['moves']:.1f}")
    table.add_row("users judged when it was decided, median", "never decided" if users is None else f"{users:,}")
    Console().print(table)
