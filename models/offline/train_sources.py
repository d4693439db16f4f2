"""From a past to weights of the candidate sources: fitted to what they said before users acted."""

from collections.abc import Sequence

from models.messages import Event, Item, Request
from models.offline.source_pools import MAX_POOLS, PoolGatherer
from models.offline.source_weights import LEAST_POOLS, FittedSources, fit_sources
from models.offline.walk import Progress, WalkConfig, side_of, slates_due

COLD_SHARE = 0.2
"""First share of the messages, of which nothing is fitted to: the tables know too little yet."""


def train_sources(
    messages: Sequence[Event | Request],
    items: Sequence[Item],
    config: WalkConfig | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> FittedSources | None:
    """Walk through a past, ask the first strategy's sources before each act, and fit what they weigh.

    Where a sequence model proposes items, that begins with the first slate after all that it has learned.

    Parameters
    ----------
    messages
        Events, and requests between them if they are known, in time order.

    Returns
    -------
    None where the strategy's own weights are as good on the newest slates.

    Raises
    ------
    ValueError
        Where too few slates could be asked for, or the strategy has one source alone.
    """
    config = config or WalkConfig()
    strategy = config.strategies[0]
    if len(strategy.asked_sources) < 2:
        raise ValueError("the strategy has one source, and its weight changes nothing: name more in EDDY_STRATEGY")
    from_at = messages[int(COLD_SHARE * len(messages))].timestamp if messages else 0
    if config.encoder is not None:
        from_at = max(from_at, config.encoder.learned_until + 1)
    n_warm = sum(message.timestamp >= from_at for message in messages)
    pools = PoolGatherer(strategy, MAX_POOLS / max(n_warm, 1), seed)
    if n_warm:
        side = side_of(messages, items, config)
        for due in slates_due(messages, side, config, progress):
            warm = [(query, act) for query, act in due if query.at >= from_at]
            pools.observe([query for query, _ in warm], side.table, [act.item_id for _, act in warm])
    if pools.n < LEAST_POOLS:
        raise ValueError(
            f"in {pools.n:,} cases a source had named what the user did next: {LEAST_POOLS} are needed at least, since "
            "nothing is known of weights by fewer"
        )
    return fit_sources(pools.all(), strategy)
