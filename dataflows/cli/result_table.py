"""An experiment's result for the terminal: verdict, figures by variant, and the goal's lifts over time."""

from rich.console import Console
from rich.table import Table

from dataflows.cli.lift_plot import plot_lifts
from models.experiments.judge.metrics import METRICS
from models.messages import ExperimentResult, MetricResult

LOOKS = {"winner": "bold green", "harmful": "bold red", "mismatch": "bold yellow", "no difference": "bold"}


def show(result: ExperimentResult, console: Console) -> None:
    """Print a result: verdict, a table of all metrics, and the goal's lifts over time."""
    look = LOOKS.get(result.verdict, "cyan")
    delta = f" within {result.delta:.1%}" if result.verdict == "no difference" else ""
    console.print(f"\n[bold]{result.experiment}[/bold]: [{look}]{result.verdict}{delta}[/{look}]", highlight=False)
    console.print(_facts(result), highlight=False)
    console.print(_table(result))
    for variant in result.variants:
        coverage = f"{variant.coverage:,} different items shown"
        console.print(
            f"{variant.variant}: {variant.users:,} users, {coverage}, {variant.traffic:.0%} of the traffic from now on",
            highlight=False,
        )
    is_interleaved = len(result.variants) == 1
    for treatment in result.history[-1].lifts if result.history else ():
        control = "the other, items acted on a user" if is_interleaved else result.variants[0].variant
        title = f"{'credit' if is_interleaved else 'lift'} of {result.goal}, {treatment} over {control}"
        console.print(plot_lifts(result.history, treatment, title), highlight=False)


def _facts(result: ExperimentResult) -> str:
    users = sum(variant.users for variant in result.variants)
    facts = [
        f"goal {result.goal}",
        f"{users:,} users",
        f"alpha {result.alpha:g} at all looks together",
        f"users as planned: p = {result.mismatch_p:.3g}",
        f"impressions are {'slates' if result.impressions == 'slate' else 'the events of the platform'}",
    ]
    if result.decision is not None:
        facts.append(f"first decided: {result.decision.verdict}, at {result.decision.users:,} users")
    return "; ".join(facts)


def _table(result: ExperimentResult) -> Table:
    """Give each metric that was measured a row for each variant."""
    table = Table("metric", "variant", "value", "lift (bounds at all looks)", "p", "says")
    for index, metric in enumerate(METRICS):
        measured = [variant.metrics[index] for variant in result.variants]
        if not any(found.value or found.error for found in measured):
            continue  # nobody did what it counts
        name = f"[bold]{metric.name}[/bold]" if metric.name == result.goal else metric.name
        for variant, found in zip(result.variants, measured, strict=True):
            table.add_row(name, variant.variant, *_cells(found))
            name = ""
        table.add_section()
    return table


def _cells(found: MetricResult) -> tuple[str, ...]:
    value = "-" if found.error is None else f"{found.value:.4g} ± {found.error:.2g}"
    if found.verdict is None:
        return (value,)
    look = LOOKS.get(found.verdict, "default")
    p = "" if found.p is None else f"{found.p:.2g}"
    return value, _bounds(found), p, f"[{look}]{found.verdict}[/{look}]"


def _bounds(found: MetricResult) -> str:
    """Write the bounds of the lift; where there is no control, of the difference from 0."""
    low, high = found.lift or found.difference or (None, None)
    if low is None or high is None:
        return "not known yet"
    return f"{low:+.1%} to {high:+.1%}" if found.lift else f"{low:+.3g} to {high:+.3g}"
