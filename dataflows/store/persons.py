"""What a store holds of single users: which erasure each state is after, and what is left of states that are gone."""

import logging
from collections.abc import Collection
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from dataflows.store.files import StoreError, explained, open_file, partition_files, reading
from dataflows.store.rewrite import compact, map_keys
from dataflows.store.states import USER_STEPS
from models.config import AttributionConfig, HistoryConfig, OutcomeConfig, ProfileConfig
from models.counts.history import LearnedUser
from models.experiments.judge.user_metrics import UserMetrics
from models.online.attribution_state import AttributionState
from models.pseudonyms import StateKeys

log = logging.getLogger(__name__)


def erased_until(step_id: str, state: Any) -> int:
    """Return the erasure, Unix ms, that the user of a state came back after; 0: none, or the step keeps no users."""
    match step_id:
        case "recommend.profile":
            return int(state[4]) if len(state) > 4 else 0
        case "learn.transitions":
            return LearnedUser.unpack(state, ProfileConfig(), HistoryConfig()).erased_until
        case "learn.attribute":
            return AttributionState.unpack(state).erased_until
        case "evaluate.outcomes":
            return UserMetrics(OutcomeConfig(), AttributionConfig().impressions, state).erased_until
    return 0


def rotate(folder: Path, keys: StateKeys) -> int:
    """Give what is kept of users the keys that all secrets make, one secret after the other; the flow must be stopped.

    A store's generation says how many secrets its keys were made with. Cut off at any point, it can be called again.

    Returns
    -------
    How many keys were changed, by the last secret.

    Raises
    ------
    StoreError : the store is in use, or was made with more secrets than there are.
    """
    n = 0
    for n_known in range(generation_of(folder), keys.n_secrets):
        n = map_keys(folder, USER_STEPS, partial(keys.successor, n_known=n_known), n_known + 1)
    return n


def generation_of(folder: Path) -> int:
    """Return how many secrets the keys of a store were made with; where a rotation was cut off, before it.

    Raises
    ------
    StoreError : it cannot be read.
    """
    with explained(folder), ExitStack() as stack:
        files = [stack.enter_context(closing(open_file(path))) for path in partition_files(folder)]
        return min((int(file.execute("PRAGMA application_id").fetchone()[0]) for file in files), default=0)


def check_generation(folder: Path, keys: StateKeys) -> None:
    """Refuse a store whose keys were made with other secrets: every user would be somebody never seen.

    Raises
    ------
    StoreError : it was.
    """
    if not partition_files(folder) or (made := generation_of(folder)) == keys.n_secrets:
        return
    remedy = (
        f"run `eddy state rotate {folder.name}` while the flow is stopped"
        if made < keys.n_secrets
        else "name all of them in EDDY_PRIVACY__SECRETS, the oldest first"
    )
    raise StoreError(f"{folder}: its keys were made with {made} secrets, and there are {keys.n_secrets}: {remedy}")


def wipe(folder: Path, keys: Collection[str]) -> bool:
    """Leave nothing of forgotten states of these keys in a store's files; say whether there was anything.

    The engine forgets a state by a row without content: its key stays, and its bytes in free pages and in the log.
    Call it once the store is ours, before the engine opens it. A store that is in use is left for the next start.
    """
    if not partition_files(folder):
        return False
    newest: dict[tuple[str, str], tuple[int, bool]] = {}
    try:
        with reading(folder) as moment:
            for row in moment.rows():
                place = row.step_id, row.key
                if row.key in keys and row.step_id in USER_STEPS and row.epoch > newest.get(place, (-1, False))[0]:
                    newest[place] = row.epoch, row.change is None
        if not any(is_forgotten for _, is_forgotten in newest.values()):
            return False
        compact(folder, log.debug)
    except StoreError as error:
        log.warning("what is left of erased users stays in the store until the next start: %s", error)
        return False
    return True
