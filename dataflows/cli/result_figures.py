"""An experiment's result for the terminal: verdict, figures by variant, and the goal's lifts over time."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from dataflows.cli.result_reasons import reasons
from models.experiments.judge.metrics import METRICS
from models.messages import ExperimentResult, MetricResult, ResultPoint

WIDTH, HEIGHT = 72, 13
NOTHING_YET = "nothing is known of the lift yet"

LOOKS = {"winner": "bold green", "harmful": "bold red", "mismatch": "bold yellow", "no difference": "bold"}


def show(result: ExperimentResult, console: Console) -> None:
    """Print a result: verdict, a table of all metrics, and the goal's lifts over time."""
    look = LOOKS.get(result.verdict, "cyan")
    delta = f" within {result.delta:.1%}" if result.verdict == "no difference" else ""
    console.print(f"\n[bold]{result.experiment}[/bold]: [{look}]{result.verdict}{delta}[/{look}]", highlight=False)
    console.print(_facts(result), highlight=False)
    for reason in reasons(result):
        console.print(reason, highlight=False)
    console.print(_table(result))
    for table in (_guardrails(result), _versions(result)):
        if table.row_count:
            console.print(table)
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
    if result.holdback is not None:
        facts.append(f"a stop holds {result.holdback:.0%} back")
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


def _guardrails(result: ExperimentResult) -> Table:
    """Give each guardrail of each treatment a row."""
    table = Table("guardrail", "variant", "lift (bounds at all looks)", "at most", "says")
    looks = {"holds": "bold green", "broken": "bold red"}
    for variant in result.variants:
        for guard in variant.guardrails:
            look = looks.get(guard.verdict, "default")
            says = f"[{look}]{guard.verdict}[/{look}]"
            table.add_row(guard.metric, variant.variant, _lift(guard.lift), f"{guard.margin:+.1%}", says)
    return table


def _versions(result: ExperimentResult) -> Table:
    """Give each version of a ranker that made slates for a variant a row: counts, which nobody randomised."""
    table = Table("model version", "variant", "slates", "shown", "acted on", "hit rate")
    for variant in result.variants:
        for made in variant.versions:
            acted_on = f"{made.acted_on / made.shown:.2%}" if made.shown else "-"
            hits = f"{made.hits / made.judged:.2%}" if made.judged else "-"
            table.add_row(made.model_version, variant.variant, f"{made.slates:,}", f"{made.shown:,}", acted_on, hits)
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
    low, high = found.difference or (None, None)
    if found.lift is not None or low is None or high is None:
        return _lift(found.lift or (None, None))
    return f"{low:+.3g} to {high:+.3g}"


def _lift(bounds: tuple[float | None, float | None]) -> str:
    low, high = bounds
    return "not known yet" if low is None or high is None else f"{low:+.1%} to {high:+.1%}"


def plot_lifts(history: Sequence[ResultPoint], treatment: str, title: str) -> str:
    """Draw the bounds of a treatment's lift: users to the right, the lift upwards, a line at 0.

    Where the band has left the line, it has decided. Looks before anything was known are left out; what is beyond the
    scale, which the newer half of the looks sets, is cut off.
    """
    known = [(point.users, *bounds) for point in history if (bounds := _known(point, treatment)) is not None]
    if not known:
        return f"{title}: {NOTHING_YET}"
    columns = [known[round(column * (len(known) - 1) / (WIDTH - 1))] for column in range(WIDTH)]
    newer = known[len(known) // 2 :]
    bottom, top = min(0.0, *(low for _, low, _ in newer)), max(0.0, *(high for _, _, high in newer))
    step = (top - bottom) / (HEIGHT - 1) or 1.0
    lines = [title]
    zero = round(-bottom / step)
    for row in reversed(range(HEIGHT)):
        marks = "".join(_mark(row, zero, (low - bottom) / step, (high - bottom) / step) for _, low, high in columns)
        label = "0" if row == zero else f"{bottom + row * step:+.1%}" if row in (0, HEIGHT - 1) else ""
        lines.append(f"{label:>8} │{marks}")
    first, last = f"{known[0][0]:,}", f"{known[-1][0]:,} users"
    lines.append(f"{'':>8} └{'─' * WIDTH}")
    lines.append(f"{'':>10}{first}{last:>{WIDTH - len(first)}}")
    return "\n".join(lines)


def _known(point: ResultPoint, treatment: str) -> tuple[float, float] | None:
    low, high = point.lifts.get(treatment, (None, None))
    return None if low is None or high is None else (low, high)


def _mark(row: int, zero: int, low: float, high: float) -> str:
    if round(low) <= row <= round(high):
        return "▒" if row == zero else "█" if row in (round(low), round(high)) else "░"
    return "─" if row == zero else " "
