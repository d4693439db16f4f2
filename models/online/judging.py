"""How versions of a ranker are compared on slates: by how far up they place what was liked, or by their likelihood."""

from collections.abc import Callable
from typing import TypeAlias

from models.numeric.metrics import discounted_gains
from models.rankers.checkpoint import Checkpoint
from models.rankers.funnel import Funnel
from models.rankers.funnel_learner import FunnelLearner, funnel_losses, rates_losses
from models.rankers.inputs import Labelled
from models.rankers.learners import Learner
from models.rankers.served import BlendRanker, NetworkRanker

Judge: TypeAlias = Callable[[Learner | Checkpoint | None], list[float]]
"""Says how good a learner or a version is at each slate of a batch; None is what serves before there is a version."""


def by_gain(labelled: Labelled) -> Judge:
    """Judge rankers by the discounted gain of each slate; a click counts the inverse of its examination."""
    gains = labelled.labels * labelled.inverse_examination

    def judge(one: Learner | Checkpoint | None) -> list[float]:
        ranker = BlendRanker() if one is None else NetworkRanker(one.model) if isinstance(one, Checkpoint) else one
        found: list[float] = discounted_gains(ranker.score(labelled.inputs), gains, labelled.present).tolist()
        return found

    return judge


def by_likelihood(learner: FunnelLearner, labelled: Labelled) -> Judge:
    """Judge funnels by the log-likelihood of each slate; without a version, each item has the same chances."""

    def judge(one: Learner | Checkpoint | None) -> list[float]:
        if isinstance(one, Checkpoint):
            assert isinstance(one.model, Funnel)  # noqa: S101 - versions are what the learner was
            losses = funnel_losses(one.model, labelled)
        elif one is None and learner.calibration.is_known:
            losses = rates_losses(learner.calibration.rates, labelled)
        else:
            losses = learner.losses(labelled)
        return [-loss for loss in losses.tolist()]

    return judge
