"""`eddy simulate`: what an experiment would find, before it is run."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dataflows.cli.scenarios import figures_of, run_scenario, show_figures
from dataflows.errors import EddyError
from models.experiments.assign.declaration import Rules
from models.experiments.judge.simulation import RUNS_AT_ONCE, Plan, SimulatedRuns, simulate
from models.experiments.simulate.scenario import Scenario, ScenarioName

RunCount = Annotated[int, typer.Option(min=1, help="Experiments to simulate.")]
Looks = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Times that somebody looks, evenly spread over the users.",
        show_default=f"{Plan.looks}; {Scenario.looks} in a scenario",
    ),
]
Lift = Annotated[float, typer.Option(help="The treatment's true lift: 0.1 turns a rate of 5% into 5.5%.")]
Users = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Users of all variants, at the last look.",
        show_default=f"{Plan.users}; {Scenario.users} in a scenario",
    ),
]
Rate = Annotated[float, typer.Option(help="The control's conversion rate.")]
Split = Annotated[float, typer.Option(help="Share of the users that really get the control; one half is planned.")]
Alpha = Annotated[float, typer.Option(help="Share of false positives to be kept.")]
MismatchBy = Annotated[int, typer.Option(min=1, help="Count the mismatch alarms up to so many users.")]
Name = Annotated[
    ScenarioName | None,
    typer.Option(
        help="Whole experiments instead, through the code that judges the real ones: base rates that move under a "
        "bandit, a bandit, a stop, conversions that mature, ratios with CUPED under a bandit, guardrails.",
        show_default=False,
    ),
]
Variants = Annotated[int, typer.Option(min=2, help="In a scenario: variants, of which the last has the lift.")]
Cuped = Annotated[bool, typer.Option(help="In the scenario ratio: whether users have a past, which CUPED takes in.")]
Harm = Annotated[
    float, typer.Option(help="In the scenario guardrail: true harm of the last variant; 1 is at the margins.")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same figures.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Also write the figures to this file.", show_default=False, dir_okay=False)
]


def simulate_experiments(
    runs: RunCount = 2_000,
    looks: Looks = None,
    lift: Lift = 0.0,
    users: Users = None,
    rate: Rate = 0.05,
    split: Split = 0.5,
    alpha: Alpha = 0.05,
    mismatch_by: MismatchBy = 100_000,
    seed: Seed = 1,
    scenario: Name = None,
    variants: Variants = Scenario.variants,
    cuped: Cuped = Scenario.cuped,
    harm: Harm = Scenario.harm,
    out: Json = None,
) -> None:
    """Plan an experiment: simulate it many times, by the rules that judge the real ones.

    With --lift 0 it shows how often equal variants are called different: by the confidence sequence, at any look, and
    by the naive test that stops at the first p < alpha. With the lift that you hope for it shows how often that is
    found and how many users it takes. With a --split that was not planned it shows whether the alarm rings.

    With a --scenario it shows the same of experiments that move their traffic, and how often one takes back what it had
    decided.
    """
    try:
        if scenario is not None:
            kind = Scenario(
                scenario, variants, users or Scenario.users, looks or Scenario.looks, rate, lift, harm, cuped, alpha
            )
            found = figures_of(kind, run_scenario(kind, runs, seed))
            _write(found, out)
            show_figures(kind, found)
            return
        looks = looks or Plan.looks
        plan, rules = Plan(users or Plan.users, looks, rate, lift, split), Rules(alpha=alpha)
    except ValueError as error:
        raise EddyError(f"this cannot be planned: {error}") from error
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=runs)
        done = []
        for some in simulate(plan, rules, runs, seed):
            done.append(some)
            progress.advance(task, RUNS_AT_ONCE)
    figures = {"runs": runs, "looks": looks, "lift": lift} | _figures(done, mismatch_by)
    _write(figures, out)
    _show(figures, plan, mismatch_by)


def _write(figures: dict[str, Any], out: Path | None) -> None:
    if out is None:
        return
    try:
        out.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise EddyError(f"{out} cannot be written: {error.strerror}") from error


def _figures(done: list[SimulatedRuns], mismatch_by: int) -> dict[str, Any]:
    at_verdict = np.concatenate([some.users_at_verdict for some in done])
    decided = at_verdict[np.isfinite(at_verdict)]
    return {
        "positive_rate": float(np.isfinite(at_verdict).mean()),
        "naive_positive_rate": float(np.concatenate([some.naive for some in done]).mean()),
        "median_users_at_verdict": int(np.median(decided)) if len(decided) else None,
        "mismatch_rate": float((np.concatenate([some.users_at_mismatch for some in done]) <= mismatch_by).mean()),
    }


def _show(figures: dict[str, Any], plan: Plan, mismatch_by: int) -> None:
    title = f"{figures['runs']:,} experiments, {plan.users:,} users, {plan.looks} looks, true lift {plan.lift:+.1%}"
    table = Table("", "", title=title, show_header=False)
    users = figures["median_users_at_verdict"]
    table.add_row("called a winner or harmful, at any look", f"{figures['positive_rate']:.1%}")
    table.add_row("the same by a naive test at each look", f"{figures['naive_positive_rate']:.1%}")
    table.add_row("users when it was called, median", "never called" if users is None else f"{users:,}")
    table.add_row(f"mismatch alarm within {mismatch_by:,} users", f"{figures['mismatch_rate']:.1%}")
    Console().print(table)
