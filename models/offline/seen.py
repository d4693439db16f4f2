"""Whether a trained ranker has seen what it is to be judged by: a sample of the acts that it learned, kept with it."""

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from models.messages import Event
from models.numeric.ids import hash64
from models.rankers.checkpoint import Checkpoint

LEARNED = "learned_acts"
"""Its name in a checkpoint's provenance."""
N_KEPT = 256
"""Acts of which the hash is kept. Where one in fifty of those that are judged was learned, 0.98^256 = 0.6% of the
checkpoints pass."""


def sample_of(acts: Iterable[Event], before: Iterable[int] = ()) -> list[int]:
    """Return the lowest hashes of acts: the same acts give the same ones in any file and order.

    Bottom-k sampling (Cohen and Kaplan, 2007): of two samples, the lowest of both are a sample of the union.

    Parameters
    ----------
    before : the sample of what was learned before.
    """
    return heapq.nsmallest(N_KEPT, {*before, *map(_hash, acts)})


def n_seen(provenance: Mapping[str, Any], judged: Iterable[Event]) -> int:
    """Count the judged acts that are in the sample of those learned; 0 where nothing is said of what was learned."""
    learned = set(provenance.get(LEARNED, ()))
    return sum(_hash(act) in learned for act in judged) if learned else 0


def refuse_seen(checkpoint: Checkpoint | None, judged: Iterable[Event]) -> None:
    """Refuse a ranker that learned what it is to be judged by.

    Raises
    ------
    ValueError : it did.
    """
    if checkpoint is not None and (n := n_seen(checkpoint.provenance, judged)):
        raise ValueError(
            f"the checkpoint {checkpoint.version} has learned acts that it would be judged by ({n:,} of a sample of "
            f"{N_KEPT}): train one on other events, or leave --checkpoint away, so that one is trained on the way"
        )


def _hash(act: Event) -> int:
    return hash64("\0".join((act.event_id, act.user_id, act.item_id, str(act.timestamp))))
