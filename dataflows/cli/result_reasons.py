"""Why an experiment's verdict holds, or why there is none yet, in sentences."""

from collections.abc import Iterator

from models.messages import ExperimentResult, GuardrailResult, MetricResult, VariantResult

SPANS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


def reasons(result: ExperimentResult) -> list[str]:
    """Say why the verdict is what it is, of how many users, and what follows from it."""
    return [*_verdict(result), *_users(result), *_traffic(result)]


def _verdict(result: ExperimentResult) -> Iterator[str]:
    if result.note is not None:
        yield f"Nothing is decided: {result.note}."
    decision, level = result.decision, f"which among equals happens in {result.alpha:.0%} of the experiments at most"
    if result.verdict == "mismatch":
        yield (
            f"The users did not fall into the variants as planned (p = {result.mismatch_p:.2g}): "
            "look for the fault, no figure can be trusted."
        )
    elif decision is not None and result.verdict == decision.verdict != "mismatch":
        at = f"at {decision.users:,} users"
        if decision.verdict == "no difference":
            yield f"Decided {at}: any true lift of {result.goal} lay within {result.delta:.1%}, up or down."
        elif decision.variant is None:
            yield f"Decided {at}: the bounds of {result.goal} excluded 0, {level}."
        else:
            yield f"Decided {at} for {decision.variant}: the bounds of {result.goal} excluded 0, {level}."
    for variant in result.variants[1:]:
        yield from _treatment(result, variant)


def _treatment(result: ExperimentResult, variant: VariantResult) -> Iterator[str]:
    """Say how a treatment stands now."""
    goal = next((metric for metric in variant.metrics if metric.metric == result.goal), None)
    if goal is None or result.verdict == "mismatch":
        return
    if result.verdict == "running":
        yield f"{variant.variant}: {_goal(goal)}."
    elif goal.verdict != result.verdict and len(result.variants) == 2:
        yield f"{variant.variant}: by now {_goal(goal)}; what was decided stands."
    for guard in variant.guardrails:
        if goal.verdict == "winner" and guard.verdict != "holds" and result.verdict == "running":
            yield f"{variant.variant} would win, and may not: {_guard(guard)}."


def _goal(goal: MetricResult) -> str:
    low, high = goal.lift or (None, None)
    if low is None or high is None:
        return f"nothing is known of the lift of {goal.metric} yet"
    return f"the lift of {goal.metric} lies between {low:+.1%} and {high:+.1%}"


def _guard(guard: GuardrailResult) -> str:
    low, high = guard.lift
    if low is None or high is None:
        return f"nothing is known of its guardrail {guard.metric} yet"
    is_broken = "is broken" if guard.verdict == "broken" else "is not sure to hold"
    return f"its guardrail {guard.metric} {is_broken}, {low:+.1%} to {high:+.1%} where {guard.margin:+.1%} is borne"


def _users(result: ExperimentResult) -> Iterator[str]:
    waiting = sum(variant.users - variant.judged for variant in result.variants)
    if result.age_s and waiting > 0:
        yield f"{waiting:,} users wait to be judged until they have been exposed for {span(result.age_s)}."
    elif result.age_s:
        yield f"Each user is judged by what was done within {span(result.age_s)} of the exposure."
    if result.value_cap is not None:
        yield f"Of what a user spent at most {result.value_cap:,.6g} counts."


def _traffic(result: ExperimentResult) -> Iterator[str]:
    decision = result.decision
    if result.holdback is None or decision is None or decision.variant is None:
        return
    yield f"New users get {decision.variant}; {result.holdback:.0%} of them are held back with the others."


def span(seconds: int) -> str:
    """Write a time in the largest unit that divides it."""
    size, unit = next((size, unit) for size, unit in SPANS if seconds % size == 0)
    n = seconds // size
    return f"{n} {unit if n != 1 else unit[:-1]}"
