"""What a learner is, and every one by its name: new, from a checkpoint, or from a snapshot."""

from collections.abc import Sequence
from typing import Protocol

from models.names import FEATURES, FUNNEL, FunnelName, LearnerName
from models.numeric.arrays import Floats
from models.rankers.checkpoint import Checkpoint, MissingFeatureError
from models.rankers.config import LearnerConfig
from models.rankers.ftrl import FTRL
from models.rankers.funnel_learner import FunnelLearner
from models.rankers.inputs import Labelled
from models.rankers.network_learner import NetworkLearner
from models.rankers.networks import new_network
from models.rankers.served import Ranker


class Learner(Ranker, Protocol):
    """A ranker that learns online. The same examples in the same batches make the same learner."""

    def learn(self, labelled: Labelled, rate: float = 1.0) -> None:
        """Take one step on a batch of slates, `rate` times as large as configured."""

    def losses(self, labelled: Labelled) -> Floats:
        """Return one loss a slate, (B,); NaN for a slate that this loss can say nothing about."""

    def snapshot(self) -> bytes:
        """Pack all that learning goes on from."""

    def checkpoint(self) -> Checkpoint:
        """Freeze what has been learned, for serving; later steps do not change it."""


def new_learner(
    name: LearnerName | FunnelName, config: LearnerConfig | None = None, start: Checkpoint | None = None
) -> Learner:
    """Make a learner of all FEATURES, or of those that the checkpoint looks at.

    Parameters
    ----------
    start : a trained network of that kind to go on from, by the loss that it was trained with.

    Raises
    ------
    ValueError
        Where the checkpoint is of another kind, or the learner has no such loss.
    """
    config = config or LearnerConfig()
    if name == "ftrl":
        if start is not None:
            raise ValueError("ftrl starts from nothing: it has no use for a checkpoint")
        return FTRL(len(FEATURES), config.loss)
    kind = FunnelLearner if name == FUNNEL else NetworkLearner
    if start is None:
        return kind(new_network(name, len(FEATURES)), config)
    if start.kind != name:
        raise ValueError(f"the checkpoint {start.version} holds the ranker {start.kind!r}, not {name!r}")
    going_on = LearnerConfig(start.loss, config.learning_rate, config.fine_tune, config.device)
    return kind(start.model, going_on)


def restore_learner(
    name: LearnerName | FunnelName, packed: bytes, device: str = "cpu", features: Sequence[str] = FEATURES
) -> Learner:
    """Go on from what `Learner.snapshot` returned.

    Parameters
    ----------
    features : names of the columns that it was taken under.

    Raises
    ------
    MissingFeatureError
        Where it looks at a feature that is not computed.
    """
    if name == FUNNEL:
        return FunnelLearner.restore(packed, device, features)
    if name != "ftrl":
        return NetworkLearner.restore(packed, device, features)
    if missing := [feature for feature in features if feature not in FEATURES]:
        raise MissingFeatureError(f"an ftrl snapshot looks at {', '.join(missing)}, which is not computed now")
    return FTRL.restore(packed, [*map(FEATURES.index, features)], len(FEATURES))
