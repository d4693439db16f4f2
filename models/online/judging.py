"""How versions of a ranker are compared on slates: by how far up they place what was liked, or by their likelihood."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from models.numeric.arrays import Bools, Doubles
from models.numeric.metrics import discounted_gains
from models.rankers.checkpoint import Checkpoint
from models.rankers.funnel import Funnel
from models.rankers.funnel_learner import (
    FunnelLearner,
    StageLogits,
    calibrated_logits,
    chance_variances,
    decided_outcomes,
    log_losses,
    rates_logits,
)
from models.rankers.inputs import Labelled
from models.rankers.learners import Learner
from models.rankers.served import BlendRanker, NetworkRanker

Version: TypeAlias = Checkpoint | None
"""None is what serves before there is a version."""


class Judgement(NamedTuple):
    """How good rankers are on each of B slates, the learner first, then the version in service, then the one before."""

    gains: Doubles
    """(R, B) for R rankers."""
    variances: Doubles
    """(R, B) what chance adds to a ranker's difference from the version in service, by their own chances; 0 where they
    state none."""
    acted: Bools
    """(B,) whether the user did anything with the slate."""


def by_gain(labelled: Labelled, learner: Learner, versions: Sequence[Version]) -> Judgement:
    """Judge rankers by the discounted gain of each slate; a click counts the inverse of its examination."""
    gains = labelled.labels * labelled.inverse_examination
    served = [BlendRanker() if one is None else NetworkRanker(one.model) for one in versions]
    found = [discounted_gains(ranker.score(labelled.inputs), gains, labelled.present) for ranker in (learner, *served)]
    return Judgement(
        np.array(found, np.float64), np.zeros((len(found), labelled.n)), np.asarray(labelled.labels.any(axis=1))
    )


def by_likelihood(labelled: Labelled, learner: FunnelLearner, versions: Sequence[Version]) -> Judgement:
    """Judge funnels by the log-likelihood of each slate; without a version, each item has the same chances."""
    logits = [learner.logits(labelled), *(_logits_of(one, learner, labelled) for one in versions)]
    gains = np.array([-log_losses(one, labelled) for one in logits], np.float64)
    variances = np.array([chance_variances(one, logits[1], labelled) for one in logits], np.float64)
    return Judgement(gains, variances, np.asarray(decided_outcomes(labelled).any(axis=(1, 2))))


def _logits_of(version: Version, learner: FunnelLearner, labelled: Labelled) -> StageLogits:
    if version is not None:
        assert isinstance(version.model, Funnel)  # noqa: S101 - versions are what the learner was
        return calibrated_logits(version.model, labelled)
    if learner.calibration.is_known:
        return rates_logits(learner.calibration.rates, labelled)
    return learner.logits(labelled)
