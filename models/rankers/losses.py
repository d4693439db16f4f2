"""What a network minimises: one loss a slate."""

import torch
from torch import Tensor
from torch.nn import functional

from models.names import Loss


def slate_losses(
    loss: Loss, scores: Tensor, labels: Tensor, weights: Tensor, inverse_examination: Tensor | None = None
) -> Tensor:
    """Compute (B,) losses of slates with (B, L) scores, labels in {0, 1} and weights, 0 where there is no item.

    `cross_entropy` takes a score for the log-odds that the item is acted on, `mse` for the label itself; both are means
    over a slate's items, by weight. `softmax` is the cross-entropy of the slate's choice, -Σ w log softmax(s) over its
    positives by weight (ListNet's top-one probability; Cao et al., ICML 2007): it says nothing, NaN, about a
    slate without a positive.

    A positive counts as many times as there are likes behind one that is seen: `inverse_examination`, (B, L), by
    default 1 (Joachims, Swaminathan and Schnabel, WSDM 2017).
    """
    if loss == "softmax":
        present = weights > 0
        chosen = labels * weights
        likely = functional.log_softmax(scores.masked_fill(~present, float("-inf")), dim=1)
        total = chosen.sum(dim=1)
        # Divided by 1 where there is no positive: a gradient of NaN would spread to the other slates' weights.
        likely = likely.masked_fill(~present, 0.0)
        if inverse_examination is not None:
            likely = likely * inverse_examination
        mean = -(chosen * likely).sum(dim=1) / total.where(total > 0, 1.0)
        return mean.where(total > 0, float("nan"))
    if loss == "mse":
        each = (scores - labels) ** 2
    else:
        each = functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    if inverse_examination is not None:
        each = torch.where(labels > 0, each * inverse_examination, each)
    return (each * weights).sum(dim=1) / weights.sum(dim=1)


def mean_loss(losses: Tensor) -> Tensor | None:
    """Average what there is to say; None where that is nothing."""
    said = losses[~torch.isnan(losses)]
    return said.mean() if len(said) else None
