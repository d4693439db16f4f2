"""Off-policy evaluation of slates: weights under four assumptions about users, a reward model, and the estimates.

A round is a slate of L places. Its reward at a place counts as often as the other strategy does what the log did there,
over how often the log does. So the weighted rewards have the other's mean, if what users do at a place depends on

- `examination`: whether the user looks at the place, which is known, and then on the item alone (Li et al. 2018): by
  how probable it is that the item is looked at, wherever it stands;
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

Assumption: TypeAlias = Literal["examination", "position", "cascade", "slate"]
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
    looked_at: Doubles
    """(N,) under `examination` how probable it is that an item of the other strategy's is looked at, added up; else
    0."""
    wanted: Halves
    """(N, M, L, F) of what the other strategy would choose in each of M draws; nan where it has no item."""


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a strategy would have earned: acted-on items a slate."""

    served: Value | None
    """Of the slates that were not drawn, of the same variants and placements; None where there is none."""
    drawn: Value
    """Of those that were."""
    estimates: dict[str, Value]
    """`ips`, `snips` and `dr`."""
    mean_weight: float
    """1, within chance, where the log could have shown all that the strategy would."""
    n_users: int
    n_places: int
    """Longest slate."""
    n_left_out: int
    """Drawn slates of variants or placements that had not looked for candidates where this strategy does."""


def evaluate_policy(
    rounds: Sequence[Round],
    target: TargetPolicy,
    assumption: Assumption = "position",
    seed: int = 0,
    progress: Progress | None = None,
    examination: Doubles | None = None,
) -> PolicyFigures:
    """Estimate what a strategy would have earned a slate.

    Parameters
    ----------
    examination : (L,) how probable it is that each position is looked at, relative to the first; needed for
        `examination`, and of no use otherwise. Positions beyond it count as its last.

    Raises
    ------
    ValueError
        Where no slate was drawn as a whole, or the strategy asks for candidates that nobody looked for.
    """
    drawn = [one for one in rounds if one.slate.sampled_from is not None and one.slate.items]
    if not drawn:
        raise ValueError(
            "no slate was drawn as a whole, with its windows closed: set EDDY_STRATEGY__SAMPLED to a small share, and "
            "`sampled` in each variant of an experiment, and let `recommend` serve for a while"
        )
    n_drawn, drawn = len(drawn), _with_sources(drawn, target)
    alike = {_made_for(one) for one in drawn}
    served = [one for one in rounds if one.slate.sampled_from is None and _made_for(one) in alike]
    length = min(target.strategy.n_items, max(len(one.slate.items) for one in drawn))
    looks = _Looks(assumption, length, examination)
    parts = []
    for first in range(0, len(drawn), AT_ONCE):
        parts.append(_places_of(drawn[first : first + AT_ONCE], target, looks, seed))
        if progress is not None:
            progress(min(first + AT_ONCE, len(drawn)), len(drawn))
    places = _Places(*map(np.concatenate, zip(*parts, strict=True)))
    users = _users_of(drawn)
    rewards, weights = places.rewards, places.weights
    predicted, expected = _model(places, users, looks, seed)
    return PolicyFigures(
        _mean_reward(served, length) if served else None,
        _mean_reward(drawn, length),
        {
            "ips": ips(rewards, weights, users),
            "snips": snips(*_self_normalised(places, looks), users),
            "dr": doubly_robust(rewards, weights, predicted, expected, users),
        },
        float(_self_normalised(places, looks)[1][places.present if looks.examination is None else ...].mean()),
        len(set(users.tolist())),
        length,
        n_drawn - len(drawn),
    )


def _self_normalised(places: _Places, looks: "_Looks") -> tuple[Doubles, Doubles]:
    """Return rewards and weights whose mean is 1.

    Under `examination` the weights of a place have no such mean. But times the place's examination those of a slate add
    up, on average, to what is looked at of the other strategy's slate: so a slate is taken as one choice.
    """
    if looks.examination is None:
        return places.rewards, places.weights
    in_all = max(float(places.looked_at.mean()), np.finfo(float).tiny)
    looked_at = (places.present * places.weights) @ looks.examination / in_all  # (N,)
    earned = (places.present * places.weights * places.rewards).sum(axis=1)
    return np.divide(earned, looked_at, out=np.zeros_like(earned), where=looked_at > 0), looked_at


def _with_sources(drawn: Sequence[Round], target: TargetPolicy) -> list[Round]:
    """Keep the slates whose candidates come of all the sources that the strategy asks.

    Who gets which variant is left to chance, and what a placement shows is not: the value is one of those that are
    kept.
    """
    missing: list[set[str]] = [target.sources - set(_pool(one).sources) for one in drawn]
    if all(missing):
        _, fewest = min((len(names), sorted(names)) for names in missing)
        raise ValueError(
            f"{', '.join(fewest)} had no weight when these slates were made, so nothing says what would have come of "
            "it: judge a strategy without it, or let a small weight collect candidates first"
        )
    return [one for one, lacks in zip(drawn, missing, strict=True) if not lacks]


def _made_for(one: Round) -> tuple[str | None, str | None, str | None]:
    return one.slate.experiment, one.slate.variant, one.slate.placement


def _pool(one: Round) -> LoggedCandidates:
    pool = one.slate.sampled_from
    assert pool is not None  # noqa: S101 - only rounds that were drawn come here
    return pool


def _users_of(rounds: Sequence[Round]) -> Int64s:
    return np.array([hash64(one.slate.user_id) for one in rounds], np.int64)


def _mean_reward(rounds: Sequence[Round], length: int) -> Value:
    totals = np.array([one.rewards[:length].sum() for one in rounds])
    return ips(totals, np.ones(len(rounds)), _users_of(rounds))


def _places_of(part: Sequence[Round], target: TargetPolicy, looks: "_Looks", seed: int) -> _Places:
    length = looks.length
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
        propensities[b, : len(items)] = looks.logged(one, chosen[b, : len(items)])
    n_items = [min(len(one.slate.items), length) for one in part]
    wanted = target.choose(laid_out, n_items, seeds)  # (M, B, L) or shorter
    wanted = np.pad(wanted, ((0, 0), (0, 0), (0, length - wanted.shape[2])), constant_values=-1)
    present = chosen >= 0
    agreed = looks.agreement(wanted, chosen)
    weights = np.where(present, importance_weights(agreed, propensities), 1.0)
    features = laid_out.inputs.features.astype(np.float16)
    wanted_features = _take(features, wanted).swapaxes(0, 1)
    return _Places(present, rewards, weights, _take(features, chosen), looks.looked_at(wanted), wanted_features)


class _Looks:
    """What a reward may depend on: how probable that was by the log, and how often the other strategy agrees."""

    def __init__(self, assumption: Assumption, length: int, examination: Doubles | None) -> None:
        self._assumption = assumption
        self.length = length
        self.examination: Doubles | None = None
        """(L,) where a reward is that of the item times whether it is looked at."""
        if assumption == "examination":
            if examination is None or not len(examination):
                raise ValueError("nothing says how far users look down a slate: `examination` needs that")
            if not ((examination > 0) & (examination <= 1)).all():
                raise ValueError("each position is looked at with a probability above 0 and at most 1")
            self.examination = np.pad(examination[:length], (0, max(length - len(examination), 0)), mode="edge")

    def logged(self, one: Round, chosen: Int32s) -> Doubles:
        """Return the (L,) probabilities that the log had."""
        if self._assumption in {"cascade", "slate"}:
            given = [item.propensity for item in one.slate.items[: len(chosen)]]
            down_to = np.asarray(np.cumprod(given), np.float64)
            return down_to if self._assumption == "cascade" else np.full(len(chosen), down_to[-1])
        pool = _pool(one)
        logits, categories = np.array(pool.logits, np.float32), np.array(pool.categories, np.uint32)
        found = np.empty(len(chosen))
        for place, item in enumerate(chosen.tolist()):
            at_places = np.empty(len(chosen) if self.examination is not None else place + 1)
            place_probabilities(logits, categories, pool.max_per_category, item, at_places)
            found[place] = at_places[place] if self.examination is None else at_places @ self.examination[: len(chosen)]
        return np.minimum(found, 1.0)

    def looked_at(self, wanted: Int32s) -> Doubles:
        """Add up how probable it is that the items of (M, B, L) draws are looked at: (B,); 0 where nobody asks."""
        examination = np.zeros(self.length) if self.examination is None else self.examination
        return np.asarray(((wanted >= 0) @ examination).mean(axis=0))

    def agreement(self, wanted: Int32s, chosen: Int32s) -> Doubles:
        """Return how often the other strategy does what the log did, of (M, B, L) draws and (B, L) places: (B, L)."""
        if self.examination is not None:
            looked_at = [
                (wanted[:, :, place, None] == chosen) * self.examination[place] for place in range(self.length)
            ]  # (M, B, L) each
            return np.asarray(np.sum(looked_at, axis=0).mean(axis=0))
        same = wanted == chosen
        if self._assumption != "position":
            same = np.logical_and.accumulate(same, axis=2)
        if self._assumption == "slate":
            same = np.broadcast_to(same[..., -1:], same.shape)
        return np.asarray(same.mean(axis=0, dtype=np.float64))


def _take(features: Halves, positions: Int32s) -> Halves:
    """Take the features of (..., B, L) positions out of (B, C, F); nan for -1."""
    taken: Halves = features[np.arange(len(features))[:, None], np.maximum(positions, 0)]
    taken[positions < 0] = np.nan
    return taken


def _model(places: _Places, users: Int64s, looks: _Looks, seed: int) -> tuple[Doubles, Doubles]:
    """Predict rewards by a logistic regression on the features and the place, each user's by a model of the others.

    Where examination is known, on the features alone, and times that of the place: so its errors have the mean 0 under
    the weights, whatever it predicts.

    Returns
    -------
    (N, L) of what was drawn, and the mean of what the other strategy would choose; 0 where there is no item.
    """
    rows = places.chosen[places.present].astype(float)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale < 1e-6] = 1.0
    fold_of = folds(users, seed)
    length = places.present.shape[1]
    by_place = np.eye(length) if looks.examination is None else np.zeros((length, 0))
    factor = np.ones(length) if looks.examination is None else looks.examination / looks.examination.mean()
    predicted, expected = np.zeros(places.present.shape), np.zeros(places.present.shape)

    def rate(fitted: Doubles, features: Halves) -> Doubles:
        """Rate (..., L, F) features: (..., L)."""
        weights, of_places = np.split(fitted[1:], [features.shape[-1]])
        rates = factor * expit(fitted[0] + ((features - mean) / scale) @ weights + by_place @ of_places)
        return np.where(np.isnan(rates), 0.0, rates)

    for fold in range(N_FOLDS):
        held_out = fold_of == fold
        present = places.present[~held_out]
        chosen = (places.chosen[~held_out][present] - mean) / scale
        inputs = np.hstack([chosen, by_place[np.nonzero(present)[1]]])
        fitted = fit_logistic(inputs, places.rewards[~held_out][present])
        predicted[held_out] = rate(fitted, places.chosen[held_out])
        for n in np.flatnonzero(held_out):
            expected[n] = rate(fitted, places.wanted[n]).mean(axis=0)
    return predicted, expected
