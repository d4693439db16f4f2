"""Off-policy evaluation of slates: weights under three assumptions about users, a reward model, and the estimates.

A round is a slate of L places. Its reward at a place counts as often as the other strategy does what the log did there,
over how often the log does. So the weighted rewards have the other's mean, if what users do at a place depends on

- `position`: the item and the place alone (Li et al. 2018): by the item's probability there, whatever is above;
- `cascade`: what stands there and above (McInerney et al. 2020): by that of the slate down to the place;
- `slate`: anything on the slate: by that of the whole slate.

Each assumes less than the one before it, and needs more slates.

References
----------
S. Li, Y. Abbasi-Yadkori, B. Kveton, S. Muthukrishnan, V. Vinay, Z. Wen. Offline evaluation of ranking policies with
click models. KDD 2018. J. McInerney et al. Counterfactual evaluation of slate recommendations with sequential reward
interactions. KDD 2020.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import expit

from models.experiments.judge.off_policy import (
    N_FOLDS,
    Value,
    doubly_robust,
    fit_logistic,
    folds,
    importance_weights,
    ips,
    snips,
)
from models.numeric.arrays import Bools, Doubles, Halves, Int32s, Int64s
from models.numeric.ids import hash64
from models.numeric.plackett_luce import place_probabilities
from models.offline.policy.rounds import LoggedCandidates, Round
from models.offline.policy.target import Pools, TargetPolicy

AT_ONCE = 128
"""Rounds that are ranked together."""

Assumption: TypeAlias = Literal["position", "cascade", "slate"]
"""What a reward may depend on."""
Progress = Callable[[int, int], object]
"""Called with the rounds that are done, and of all."""


class _Places(NamedTuple):
    """What was drawn, and what the other strategy would have chosen, at the L places of N rounds."""

    present: Bools
    """(N, L) whether the slate has the place."""
    rewards: Doubles
    """(N, L)"""
    weights: Doubles
    """(N, L) 1 at a place that the slate does not have."""
    chosen: Halves
    """(N, L, F) features of what was drawn."""
    wanted: Halves
    """(N, M, L, F) of what the other strategy would choose in each of M draws; nan where it has no item."""


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a strategy would have earned: acted-on items a slate."""

    served: Value | None
    """Of the slates of the same users and moments that were not drawn; None where there is none."""
    drawn: Value
    """Of those that were."""
    estimates: dict[str, Value]
    """`ips`, `snips` and `dr`."""
    mean_weight: float
    """1, within chance, where the log could have shown all that the strategy would."""
    n_users: int
    n_places: int
    """Longest slate."""


def evaluate_policy(
    rounds: Sequence[Round],
    target: TargetPolicy,
    assumption: Assumption = "position",
    seed: int = 0,
    progress: Progress | None = None,
) -> PolicyFigures:
    """Estimate what a strategy would have earned a slate.

    Raises
    ------
    ValueError
        Where no slate was drawn as a whole, or the strategy asks for candidates that nobody looked for.
    """
    drawn = [one for one in rounds if one.slate.sampled_from is not None and one.slate.items]
    served = [one for one in rounds if one.slate.sampled_from is None]
    if not drawn:
        raise ValueError(
            "no slate was drawn as a whole, with its windows closed: set EDDY_STRATEGY__SAMPLED to a small share, and "
            "let `recommend` serve for a while"
        )
    _require_sources(drawn, target)
    length = min(target.strategy.n_items, max(len(one.slate.items) for one in drawn))
    parts = []
    for first in range(0, len(drawn), AT_ONCE):
        parts.append(_places_of(drawn[first : first + AT_ONCE], target, length, assumption, seed))
        if progress is not None:
            progress(min(first + AT_ONCE, len(drawn)), len(drawn))
    places = _Places(*map(np.concatenate, zip(*parts, strict=True)))
    users = _users_of(drawn)
    rewards, weights = places.rewards, places.weights
    predicted, expected = _model(places, users, seed)
    return PolicyFigures(
        _mean_reward(served, length) if served else None,
        _mean_reward(drawn, length),
        {
            "ips": ips(rewards, weights, users),
            "snips": snips(rewards, weights, users),
            "dr": doubly_robust(rewards, weights, predicted, expected, users),
        },
        float(weights[places.present].mean()),
        len(set(users.tolist())),
        length,
    )


def _require_sources(drawn: Sequence[Round], target: TargetPolicy) -> None:
    known = set.intersection(*(set(_pool(one).sources) for one in drawn))
    if missing := sorted(target.sources - known):
        raise ValueError(
            f"{', '.join(missing)} had no weight when these slates were made, so nothing says what would have come "
            "of it: judge a strategy without it, or let a small weight collect candidates first"
        )


def _pool(one: Round) -> LoggedCandidates:
    pool = one.slate.sampled_from
    assert pool is not None  # noqa: S101 - only rounds that were drawn come here
    return pool


def _users_of(rounds: Sequence[Round]) -> Int64s:
    return np.array([hash64(one.slate.user_id) for one in rounds], np.int64)


def _mean_reward(rounds: Sequence[Round], length: int) -> Value:
    totals = np.array([one.rewards[:length].sum() for one in rounds])
    return ips(totals, np.ones(len(rounds)), _users_of(rounds))


def _places_of(part: Sequence[Round], target: TargetPolicy, length: int, assumption: Assumption, seed: int) -> _Places:
    pools = [_pool(one) for one in part]
    laid_out = Pools.of([one.slate.user_id for one in part], pools, target.table)
    seeds = np.array([hash64(one.slate.recommendation_id) ^ seed for one in part], np.int64)
    chosen = np.full((len(part), length), -1, np.int32)
    rewards, propensities = np.zeros(chosen.shape), np.ones(chosen.shape)
    for b, (one, pool) in enumerate(zip(part, pools, strict=True)):
        items = one.slate.items[:length]
        number = {item_id: c for c, item_id in enumerate(pool.item_ids)}
        chosen[b, : len(items)] = [number[item.item_id] for item in items]
        rewards[b, : len(items)] = one.rewards[:length]
        propensities[b, : len(items)] = _propensities(one, chosen[b, : len(items)], assumption)
    n_items = [min(len(one.slate.items), length) for one in part]
    wanted = target.choose(laid_out, n_items, seeds)  # (M, B, L) or shorter
    wanted = np.pad(wanted, ((0, 0), (0, 0), (0, length - wanted.shape[2])), constant_values=-1)
    present = chosen >= 0
    agreed = _agreement(wanted == chosen, assumption).mean(axis=0)
    weights = np.where(present, importance_weights(agreed, propensities), 1.0)
    features = laid_out.inputs.features.astype(np.float16)
    return _Places(present, rewards, weights, _take(features, chosen), _take(features, wanted).swapaxes(0, 1))


def _propensities(one: Round, chosen: Int32s, assumption: Assumption) -> Doubles:
    """Return the (L,) probabilities that the log had for what the assumption looks at."""
    if assumption == "position":
        pool, found = _pool(one), np.empty(len(chosen))
        logits, categories = np.array(pool.logits, np.float32), np.array(pool.categories, np.uint32)
        place_probabilities(logits, categories, pool.max_per_category, chosen, found)
        return np.minimum(found, 1.0)
    given = [item.propensity for item in one.slate.items[: len(chosen)]]
    down_to = np.asarray(np.cumprod(given), np.float64)
    return down_to if assumption == "cascade" else np.full(len(chosen), down_to[-1])


def _agreement(same: Bools, assumption: Assumption) -> Doubles:
    """Say where a draw of the other strategy is what the log did, of (M, B, L) places, by what may matter there."""
    if assumption == "position":
        return same.astype(float)
    down_to = np.logical_and.accumulate(same, axis=2)
    return (down_to if assumption == "cascade" else np.broadcast_to(down_to[..., -1:], same.shape)).astype(float)


def _take(features: Halves, positions: Int32s) -> Halves:
    """Take the features of (..., B, L) positions out of (B, C, F); nan for -1."""
    taken: Halves = features[np.arange(len(features))[:, None], np.maximum(positions, 0)]
    taken[positions < 0] = np.nan
    return taken


def _model(places: _Places, users: Int64s, seed: int) -> tuple[Doubles, Doubles]:
    """Predict rewards by a logistic regression on the features and the place, each user's by a model of the others.

    Returns
    -------
    (N, L) of what was drawn, and the mean of what the other strategy would choose; 0 where there is no item.
    """
    rows = places.chosen[places.present].astype(float)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale < 1e-6] = 1.0
    fold_of = folds(users, seed)
    predicted, expected = np.zeros(places.present.shape), np.zeros(places.present.shape)

    def rate(fitted: Doubles, features: Halves) -> Doubles:
        """Rate (..., L, F) features: (..., L)."""
        by_place = fitted[1 + features.shape[-1] :]
        rates = expit(fitted[0] + ((features - mean) / scale) @ fitted[1 : 1 + features.shape[-1]] + by_place)
        return np.where(np.isnan(rates), 0.0, rates)

    for fold in range(N_FOLDS):
        held_out = fold_of == fold
        fitted = _fit(places, ~held_out, mean, scale)
        predicted[held_out] = rate(fitted, places.chosen[held_out])
        for n in np.flatnonzero(held_out):
            expected[n] = rate(fitted, places.wanted[n]).mean(axis=0)
    return predicted, expected


def _fit(places: _Places, among: Bools, mean: Doubles, scale: Doubles) -> Doubles:
    present = places.present[among]
    by_place = np.eye(present.shape[1])[np.nonzero(present)[1]]
    rows = (places.chosen[among][present] - mean) / scale
    return fit_logistic(np.hstack([rows, by_place]), places.rewards[among][present])
