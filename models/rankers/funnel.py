"""How probable it is that an item is clicked, put aside and bought: one network, a head for each stage."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.names import STAGES
from models.rankers.network import Network, NetworkConfig

LARGEST = 10.0
"""Standard deviations from its mean that a feature is taken for at most: what was never met says nothing certain."""
_LARGEST_LOG = -1e-6
"""Of a probability: none is certain."""


@dataclass(frozen=True, slots=True)
class FunnelConfig(NetworkConfig):
    """The shape of the network."""

    hidden: tuple[int, int] = (32, 16)
    n_positions: int = 32
    """Positions that are told apart; those below are taken for the last."""


class Funnel(Network):
    """F -> 32 -> 16 -> a head for each of STAGES, rectified, over standardised features.

    Where an item stood shifts the click's logit alone, beside the network: it says how likely somebody looks, and not
    what they like. Whoever ranks asks for the first position. The later heads speak of an item that was clicked, and
    are learned on all that was shown, as P(purchase) = P(click) P(purchase | click), so that they know of what nobody
    clicked, too.

    References
    ----------
    X. Ma et al. Entire space multi-task model: an effective approach for estimating post-click conversion rate.
    SIGIR 2018. Z. Zhao et al. Recommending what video to watch next: a multitask ranking system. RecSys 2019 (the
    position beside the network). J. Platt. Probabilistic outputs for support vector machines. 1999 (`calibration`).
    """

    kind = "funnel"
    reads_ids = False
    config: FunnelConfig
    calibration: Tensor
    """(S, 2) slope and intercept of each stage's logit."""
    started: Tensor
    """(S,) 1 where a head began from how frequent its stage was; before that it knows nothing."""

    def __init__(self, config: FunnelConfig) -> None:
        super().__init__(config)
        first, second = config.hidden
        self.input = nn.Linear(config.n_features, first)
        self.middle = nn.Linear(first, second)
        self.heads = nn.Linear(second, len(STAGES))
        self.position = nn.Parameter(torch.zeros(config.n_positions))
        self.register_buffer("calibration", torch.tensor([[1.0, 0.0]] * len(STAGES)))
        self.register_buffer("started", torch.zeros(len(STAGES)))

    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:  # noqa: ARG002 - ids play no part
        """Score (..., F) features by the logit of a click at the first position: (...,)."""
        clicks: Tensor = self.given(features)[..., 0] + self.position[0]
        return clicks

    def given(self, features: Tensor) -> Tensor:
        """Return the logit of a click, wherever an item stands, and of each later stage given a click: (..., S)."""
        x = self.standardised(features).clamp(-LARGEST, LARGEST)  # (..., F)
        x = functional.relu(self.input(x))  # (..., 32)
        x = functional.relu(self.middle(x))  # (..., 16)
        given: Tensor = self.heads(x)  # (..., S)
        return given

    def logits(self, given: Tensor, positions: Tensor) -> Tensor:
        """Return the logits of each stage among all that is shown, before calibration.

        Parameters
        ----------
        given : (..., S) as `given` returns them.
        positions : (...,) from 0.

        Returns
        -------
        (..., S) in the order of STAGES.
        """
        clicks = given[..., :1] + self.position[positions.clamp(max=len(self.position) - 1)][..., None]
        # log P(stage) = log P(click) + log P(stage | click), and a logit is log p - log(1 - p).
        logs = (functional.logsigmoid(clicks) + functional.logsigmoid(given[..., 1:])).clamp(max=_LARGEST_LOG)
        return torch.cat([clicks, logs - torch.log(-torch.expm1(logs))], dim=-1)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Correct (..., S) logits by what became of earlier ones."""
        return logits * self.calibration[:, 0] + self.calibration[:, 1]
