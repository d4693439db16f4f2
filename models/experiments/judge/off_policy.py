"""What another policy would have earned, from the log of the one that ran and the probabilities that it logged.

A round is a choice with its reward, or a slate: L choices with a weight and a reward each, whose rewards add up.
Rounds of one user are no independent ones: named by user, errors go by the sums over users.

For each round of the log: the reward, the probability with which the logging policy chose what it did, and that with
which the other policy would have. Where the two seldom agree, few rounds carry the whole estimate: the effective sample
size tells.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, ndtri

from models.numeric.arrays import Doubles, Int64s

ENOUGH = 100
"""Effective rounds below which the normal interval is not to be trusted."""
N_FOLDS = 3
"""Of the reward model: each is predicted by a model of the others."""


@dataclass(frozen=True, slots=True)
class Value:
    """A policy's estimated mean reward a round."""

    value: float
    error: float
    """Standard error."""
    n: int
    """Rounds of the log."""
    n_effective: float
    """Rounds of the other policy's own log that would tell as much: (sum w)^2 / sum w^2 (Kish 1965)."""
    n_users: float = float("inf")
    """The same of users, by the sums of their rounds' weights: errors go by them. Infinite where nobody was named."""

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return the normal interval at 1 - alpha, for one look."""
        half = float(ndtri(1 - alpha / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def warning(self) -> str | None:
        """Why not to trust the estimate; None where nothing speaks against it."""
        if self.n_effective >= ENOUGH and self.n_users < ENOUGH:
            return (
                f"{self.n:,} rounds are those of users who are worth only {self.n_users:,.0f} alike: a few have most "
                "of them, so the interval is too narrow. Log more users, or leave out who is a machine"
            )
        if self.n_effective >= ENOUGH:
            return None
        return (
            f"{self.n:,} rounds are worth only {self.n_effective:,.0f} of this policy's own: it chooses too "
            "differently from the one that was logged. Log more rounds, explore more, or compare a nearer policy"
        )


def importance_weights(target: Doubles, propensities: Doubles) -> Doubles:
    """Divide the other policy's probability of each logged choice by the logged one.

    Raises
    ------
    ValueError : a propensity is 0 or less, or above 1: what was chosen cannot have had it.
    """
    if not ((propensities > 0) & (propensities <= 1)).all():
        raise ValueError("every logged choice has a propensity above 0 and at most 1: log what was really used")
    return np.asarray(target / propensities)


def ips(rewards: Doubles, weights: Doubles, users: Int64s | None = None) -> Value:
    """Weigh each reward by how much more often the other policy chooses so (Horvitz and Thompson 1952).

    Without bias, where propensities are right; with much variance, where weights are large.

    Parameters
    ----------
    rewards, weights : (N,) or (N, L) of the log's rounds; the weights of `importance_weights`.
    users : (N,) whose rounds they are; None: each round is independent of the others.
    """
    return _value(weights * rewards, weights, users=users)


def snips(rewards: Doubles, weights: Doubles, users: Int64s | None = None) -> Value:
    """Divide by the weights' sum and not by the rounds, place by place (Swaminathan and Joachims 2015).

    A small bias for less variance; the estimate stays within the rewards' range. Parameters as for `ips`.
    """
    means = np.maximum(weights.mean(axis=0), np.finfo(float).tiny)
    values = (weights * rewards).mean(axis=0) / means  # of each place
    return _value(weights * (rewards - values) / means, weights, float(values.sum()), users)


def direct(expected: Doubles, error: float) -> Value:
    """Believe a reward model: its mean over the other policy's choices.

    Parameters
    ----------
    expected : (N,) the model's reward in each round, averaged over what the other policy would choose.
    error : of the estimate, with the model fitted again to each sample (`bootstrap_error`). The spread of `expected`
        would leave the model's own error out; its bias is in no interval.
    """
    ones = np.ones_like(expected)
    return replace(_value(expected, ones), error=error)


def bootstrap_error(estimate: Callable[[Int64s], float], n: int, seed: int, n_draws: int = 40) -> float:
    """Return the standard deviation of an estimate over logs drawn from the log (Efron 1979).

    Parameters
    ----------
    estimate : from N rounds, drawn with repetition and given by their indices.
    """
    rng = np.random.default_rng(seed)
    return float(np.std([estimate(rng.integers(0, n, n)) for _ in range(n_draws)], ddof=1))


def doubly_robust(
    rewards: Doubles, weights: Doubles, predicted: Doubles, expected: Doubles, users: Int64s | None = None
) -> Value:
    """Take the model's value and correct it by its weighted errors (Dudik, Langford and Li 2011).

    Without bias where either the propensities or the model are right. The model must not have seen the round that it
    predicts (`cross_fit`).

    Parameters
    ----------
    rewards, weights, users : as for `ips`.
    predicted : (N,) or (N, L) the model's reward of what was chosen.
    expected : (N,) or (N, L) as for `direct`.
    """
    return _value(expected + weights * (rewards - predicted), weights, users=users)


def folds(units: Int64s, seed: int) -> Int64s:
    """Deal units out to N_FOLDS folds at random, all rounds of one to the same: the (N,) fold of each of N rounds."""
    names, numbers = np.unique(units, return_inverse=True)
    return np.asarray(np.random.default_rng(seed).permutation(np.arange(len(names)) % N_FOLDS)[numbers])


def cross_fit(
    contexts: Doubles, actions: Int64s, rewards: Doubles, n_actions: int, seed: int, penalty: float = 1.0
) -> Doubles:
    """Predict the reward of every action in every round, by a reward model that has not seen the round.

    Each fold is predicted by a ridge logistic regression on the others: logit = intercept + context + action.

    Parameters
    ----------
    contexts : (N, D) of the rounds.
    actions : (N,) chosen, in [0, n_actions).
    rewards : (N,) 0 or 1.
    seed : of the folds.
    penalty : half its product with the squared weights is added to the summed loss; the intercept is free.

    Returns
    -------
    (N, n_actions) probabilities.
    """
    fold_of = folds(np.arange(len(rewards)), seed)
    predicted = np.empty((len(rewards), n_actions))
    for fold in range(N_FOLDS):
        held_out = fold_of == fold
        chosen = np.eye(n_actions)[actions[~held_out]]
        weights = fit_logistic(np.hstack([contexts[~held_out], chosen]), rewards[~held_out], penalty)
        by_context, by_action = weights[1 : 1 + contexts.shape[1]], weights[1 + contexts.shape[1] :]
        predicted[held_out] = expit(weights[0] + (contexts[held_out] @ by_context)[:, None] + by_action[None, :])
    return predicted


def fit_logistic(features: Doubles, labels: Doubles, penalty: float = 1.0) -> Doubles:
    """Fit a reward model: minimise the ridge logistic loss, the intercept free.

    Parameters
    ----------
    features : (N, D)
    labels : (N,) 0 or 1.

    Returns
    -------
    (1 + D,) weights, the intercept first.
    """

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        logits = weights[0] + features @ weights[1:]
        errors = expit(logits) - labels
        gradient = np.concatenate([[errors.sum()], features.T @ errors + penalty * weights[1:]])
        value = (np.logaddexp(0, logits) - labels * logits).sum() + penalty / 2 * weights[1:] @ weights[1:]
        return float(value), gradient

    found = minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 1_000})
    return np.asarray(found.x)


def _value(terms: Doubles, weights: Doubles, value: float | None = None, users: Int64s | None = None) -> Value:
    """Sum up (N,) or (N, L) terms, of which each round's L add up: their mean, unless another value is given."""
    n, n_places = len(terms), terms.size // max(len(terms), 1)
    by_round = terms.reshape(n, -1).sum(axis=1)
    squares = float((weights * weights).sum())
    effective = float(weights.sum()) ** 2 / squares / n_places if squares else 0.0
    mean = float(by_round.mean())
    units = by_round - mean if users is None else np.bincount(np.unique(users, return_inverse=True)[1], by_round - mean)
    n_units = len(units)
    n_users = float("inf")
    if users is not None:
        by_user = np.bincount(np.unique(users, return_inverse=True)[1], weights.reshape(n, -1).sum(axis=1))
        n_users = float(by_user.sum()) ** 2 / float(by_user @ by_user) if by_user.any() else 0.0
    error = float(np.sqrt((units @ units) * n_units / max(n_units - 1, 1)) / n) if n_units > 1 else float("inf")
    return Value(mean if value is None else value, error, n, effective, n_users)
