"""Every online learner by its name: new, from a checkpoint, or from a snapshot."""

from models.names import LearnerName
from models.rankers.checkpoint import Checkpoint
from models.rankers.ftrl import FTRL
from models.rankers.network_learner import LearnerConfig, NetworkLearner
from models.rankers.networks import new_network
from models.rankers.protocol import Learner


def new_learner(
    name: LearnerName, n_features: int, config: LearnerConfig | None = None, start: Checkpoint | None = None
) -> Learner:
    """Make a learner.

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
        return FTRL(n_features, config.loss)
    if start is None:
        return NetworkLearner(new_network(name, n_features), config)
    if start.kind != name:
        raise ValueError(f"the checkpoint {start.version} holds the ranker {start.kind!r}, not {name!r}")
    going_on = LearnerConfig(start.loss, config.learning_rate, config.fine_tune, config.device)
    return NetworkLearner(start.model, going_on)


def restore_learner(name: LearnerName, packed: bytes, device: str = "cpu") -> Learner:
    """Go on from what `Learner.snapshot` returned."""
    return FTRL.restore(packed) if name == "ftrl" else NetworkLearner.restore(packed, device)
