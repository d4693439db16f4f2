"""Compares what killed flows have learned with what undisturbed ones made of the same messages."""

from collections.abc import Mapping

import numpy as np

from models.items.wire import (
    CODE_MASK,
    CONTENT,
    EXTRA,
    HEAD,
    HEADER_WORDS,
    N_HABITS,
    N_SHIFT,
    NEIGHBOURS,
    POPULARITY,
    REFERENCE_AT,
    RULE_SHIFT,
    SESSIONS,
    USER,
)
from models.messages import ExperimentResult

ROUNDING = 1e-5
"""Relative, of sums that were added up in another order. One event of 40,000 on an item is more than that."""
PACKED = 2.0**-7
"""Relative, of weights that travel in half precision."""
TRENDS = 0.05
"""Relative, of what trends: a user counts again for an item once eight others have acted on it, and who came between
goes by how partitions happen to be read. Popularity counts the same events, and has to agree."""
BY_RECORDS = ("latency_ms",)
"""Metrics that go by when records were written: in files that is another time."""


def rows_differ(one: Mapping[bytes, bytes], other: Mapping[bytes, bytes]) -> list[str]:
    """Name the rows of `model-updates` that do not say the same in two histories; versions may differ.

    A row's version counts from the moment at which its shard was first made, so it is left out.

    Parameters
    ----------
    one, other : the newest value of each key, packed (`models.items.wire`).
    """
    return [key.decode() for key in sorted(one.keys() | other.keys()) if not _alike(one.get(key), other.get(key))]


def _alike(one: bytes | None, other: bytes | None) -> bool:
    if one is None or other is None:
        return False
    (exact, numbers), (other_exact, other_numbers) = _content(one), _content(other)
    return (
        exact == other_exact
        and numbers.keys() == other_numbers.keys()
        and all(np.isclose(value, other_numbers[name][0], rtol=rtol, atol=0) for name, (value, rtol) in numbers.items())
    )


def _content(row: bytes) -> tuple[bytes, dict[str, tuple[float, float]]]:
    """Split a row into what has to be the same to the bit, and numbers by name, each with its tolerance."""
    words = np.frombuffer(row, np.int64)
    code, n = words[HEAD] & CODE_MASK, int(words[HEAD] >> N_SHIFT)
    exact = words[[HEAD, REFERENCE_AT, EXTRA]].tobytes()
    if code == CONTENT:
        return exact + words[HEADER_WORDS:].tobytes(), {}
    if code == SESSIONS:
        return exact + words[[USER]].tobytes() + words[HEADER_WORDS:].tobytes(), {}
    if code != NEIGHBOURS:
        body = words[HEADER_WORDS : HEADER_WORDS + n].tolist()
        weights = words[HEADER_WORDS + n :].view(np.float32)[:n].tolist()
        return exact, {f"{item}": (weight, TRENDS) for item, weight in zip(body, weights, strict=True)}
    numbers = {
        f"popularity {k}": (value, ROUNDING)
        for k, value in enumerate(words[POPULARITY : POPULARITY + 1].view(np.float32).tolist())
    }
    n_habits, behind = int(words[N_HABITS]), HEADER_WORDS + n + (n + 1) // 2
    lists = {"": (n, HEADER_WORDS), "habit ": (n_habits, behind)}
    for kind, (n_entries, start) in lists.items():
        pairs = words[start + n_entries :].view(np.uint32)[:n_entries]
        for item, pair in zip(words[start : start + n_entries].tolist(), pairs, strict=True):
            rule, covisit = np.array([pair & 0xFFFF0000, pair << np.uint32(RULE_SHIFT)], np.uint32).view(np.float32)
            numbers[f"{kind}rule {item}"] = float(rule), PACKED
            numbers[f"{kind}covisit {item}"] = float(covisit), PACKED
    return exact, numbers


def results_differ(one: Mapping[str, ExperimentResult], other: Mapping[str, ExperimentResult]) -> list[str]:
    """Name the figures of experiments that are not the same in two histories, with both values: users, and each metric.

    When an experiment was looked at is no part of it: a killed flow looks at other moments.

    Parameters
    ----------
    one, other : the newest result of each experiment.
    """
    figures, other_figures = _figures(one), _figures(other)
    both = {name: (figures.get(name, np.nan), other_figures.get(name, np.nan)) for name in figures | other_figures}
    return [
        f"{name}: {one_value:.9g}, undisturbed {other_value:.9g}"
        for name, (one_value, other_value) in sorted(both.items())
        if not np.isclose(one_value, other_value, rtol=ROUNDING, atol=1e-9)
    ]


def _figures(results: Mapping[str, ExperimentResult]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for result in results.values():
        for variant in result.variants:
            where = f"{result.experiment} {variant.variant}"
            figures |= {f"{where} users": variant.users, f"{where} coverage": variant.coverage}
            figures |= {f"{where} {m.metric}": m.value for m in variant.metrics if m.metric not in BY_RECORDS}
    return figures
