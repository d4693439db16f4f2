"""The report of a backtest: figures a contender, how sure they are, and whether the default is better."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import to_builtins

from models.names import RANKERS
from models.numeric.arrays import Bools, Doubles, Int64s
from models.numeric.metrics import gains, hits, reciprocals
from models.offline.backtest.intervals import Units
from models.offline.backtest.outcomes import Outcomes, Target

DAY_MS = 86_400_000
EARLIER: tuple[tuple[str, int, int], ...] = (("0", 0, 0), ("1", 1, 1), ("2-4", 2, 4), ("5+", 5, 2**62))
"""Groups by the number of acts that a prediction could build on: name, least, most."""
AGES: tuple[tuple[str, int, int], ...] = (
    ("under an hour", 0, 3_600_000),
    ("under a day", 3_600_000, DAY_MS),
    ("under a week", DAY_MS, 7 * DAY_MS),
    ("a week or more", 7 * DAY_MS, 2**62),
)
"""Groups by the time since the item was first known: name, least, below."""

OWN = RANKERS
"""Rows that are parts of the default, and no baselines."""

Metric = Callable[[Int64s, int], Doubles]


def report(outcomes: Outcomes, protocol: str, k: int, default: str, seed: int = 0) -> dict[str, Any]:
    """Sum up a backtest in values of JSON.

    The best baseline is the one of the highest hit rate, and, for the reciprocal rank, the one of the highest MRR.
    `unwinnable` is the share of the targets whose item the table did not know, or no longer offers; `candidate_recall`
    the share that was among what a row ranked, which its hit rate cannot exceed. `sources_by_session` holds the weights
    that were fitted on the way, as a strategy has them. `chosen`, in protocols that choose, says what was chosen, and
    `by` what the rows earned on the targets that it was chosen by.
    """
    names = list(outcomes.records)
    units = Units([target.unit for target in outcomes.targets], seed)
    chosen = {"chosen": outcomes.chosen | {"by": _accuracies(outcomes.validation, k)}} if outcomes.validation else {}
    return {
        "protocol": protocol,
        "k": k,
        "n": len(outcomes.targets),
        "unwinnable": round(outcomes.n_unknown / max(len(outcomes.targets), 1), 6),
        "models": {name: _figures(outcomes, name, k, units) for name in names},
        "default": default,
        "sources_by_session": to_builtins(outcomes.sources_by_session),
        "significance": {
            figure: _against_best_baseline(outcomes, metric, k, units, default)
            for figure, metric in (("hr", hits), ("mrr", reciprocals))
        },
        "cold_start": {
            "by_earlier_events": _by_group(outcomes, k, _groups_by_earlier(outcomes.targets)),
            "by_item_age": _by_group(outcomes, k, _groups_by_age(outcomes.targets)),
        },
    } | chosen


def _figures(outcomes: Outcomes, name: str, k: int, units: Units) -> dict[str, Any]:
    ranks, record = outcomes.ranks(name), outcomes.records[name]
    hit, reciprocal, gain = hits(ranks, k), reciprocals(ranks, k), gains(ranks, k)
    times = record.times_us or [0.0]
    return {
        "hr": _mean(hit),
        "mrr": _mean(reciprocal),
        "ndcg": _mean(gain),
        "candidate_recall": round(outcomes.candidate_recall(name), 6),
        "coverage": round(len(record.recommended) / max(outcomes.n_items, 1), 6),
        "novelty": _mean(outcomes.novelty(name)),
        "us_p50": round(float(np.percentile(times, 50)), 1),
        "us_p99": round(float(np.percentile(times, 99)), 1),
        "hr_95": _rounded(units.interval(hit)),
        "mrr_95": _rounded(units.interval(reciprocal)),
        "ndcg_95": _rounded(units.interval(gain)),
    }


def _accuracies(outcomes: Outcomes, k: int) -> dict[str, Any]:
    """Give the three figures of each contender, without intervals."""
    figures = ("hr", hits), ("mrr", reciprocals), ("ndcg", gains)
    return {
        "n": len(outcomes.targets),
        "models": {
            name: {figure: _mean(metric(outcomes.ranks(name), k)) for figure, metric in figures}
            for name in outcomes.records
        },
    }


def _against_best_baseline(
    outcomes: Outcomes, metric: Metric, k: int, units: Units, default: str
) -> dict[str, Any] | None:
    """Compare the default with the best baseline, prediction by prediction."""
    values = {name: metric(outcomes.ranks(name), k) for name in outcomes.records if name not in OWN}
    own = values.pop(default)
    if not values or not len(own):
        return None
    best = max(values, key=lambda name: (values[name].sum(), name))
    difference = own - values[best]
    return {
        "baseline": best,
        "difference": _mean(difference),
        "difference_95": _rounded(units.interval(difference)),
        "p": round(units.p_value(difference), 4),
    }


def _groups_by_earlier(targets: Sequence[Target]) -> dict[str, Bools]:
    n = np.array([target.n_earlier for target in targets], np.int64)
    return {name: (n >= least) & (n <= most) for name, least, most in EARLIER}


def _groups_by_age(targets: Sequence[Target]) -> dict[str, Bools]:
    ages = np.array([-1 if target.age_ms is None else target.age_ms for target in targets], np.int64)
    return {"unknown": ages < 0} | {name: (ages >= least) & (ages < below) for name, least, below in AGES}


def _by_group(outcomes: Outcomes, k: int, groups: dict[str, Bools]) -> dict[str, Any]:
    """Give HR and MRR of each contender within each group."""
    return {
        group: {
            "n": int(chosen.sum()),
            "models": {
                name: {
                    "hr": _mean(hits(outcomes.ranks(name)[chosen], k)),
                    "mrr": _mean(reciprocals(outcomes.ranks(name)[chosen], k)),
                }
                for name in outcomes.records
            },
        }
        for group, chosen in groups.items()
    }


def _mean(values: Doubles) -> float:
    return round(float(values.mean()), 6) if len(values) else 0.0


def _rounded(bounds: tuple[float, float]) -> list[float]:
    return [round(bound, 6) for bound in bounds]
