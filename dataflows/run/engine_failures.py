"""What the engine's own failures mean: it ends with a panic of its own where a disk, a store or a peer fails it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from dataflows.errors import EddyError
from dataflows.run.recovery_store import damaged, unusable


class PeerError(EddyError):
    """Another process of the cluster is gone."""


def explained(error: BaseException, store: Path | None) -> EddyError | None:
    """Say what a failure of the engine means and what to do; None where it is none that is known.

    Parameters
    ----------
    store : the flow's recovery store, where it has one.
    """
    for text in _texts(error):
        for sign, say in SIGNS:
            if sign in text:
                return say(store or Path(), _gist(text))
    return None


def _texts(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{type(error).__name__}: {error}"
        error = error.__cause__ or error.__context__


def _gist(text: str) -> str:
    """Take SQLite's own words out of what the engine made of them."""
    return text.rpartition('Some("')[2].partition('")')[0] if 'Some("' in text else text.partition(": ")[2]


def _lost_peer(_store: Path, _why: str) -> EddyError:
    return PeerError(
        "another process of this cluster is gone, and a cluster stands or falls as one. Start all of its processes "
        "again: they go on from the last snapshot, and nothing is lost. The log of the one that ended first says why"
    )


def _no_place(_store: Path, why: str) -> EddyError:
    return EddyError(
        f"this process cannot take its place in the cluster: {why.rpartition(': ')[2]}. EDDY_CLUSTER__ADDRESSES names, "
        "at the place that EDDY_CLUSTER__PROCESS_ID counts from 0, an address of this machine and a port that no other "
        "program has; it is one list for all processes"
    )


class BrokerError(EddyError):
    """The Kafka client has given up."""


def _broker(_store: Path, why: str) -> EddyError:
    return BrokerError(f"Kafka: {why}. `eddy doctor` says what is wrong with broker, topics and rights")


SIGNS: tuple[tuple[str, Callable[[Path, str], EddyError]], ...] = (
    ("NotADatabase", damaged),
    ("DatabaseCorrupt", damaged),
    ("MissingPartitionsError", damaged),
    ("InconsistentPartitionsError", damaged),
    ("SqliteFailure", unusable),
    ("NoPartitionsError", unusable),
    ("failed to initialize networking", _no_place),
    ("Send thread panic", _lost_peer),
    ("Recv thread panic", _lost_peer),
    ("KafkaException: ", _broker),
)
"""Words of a failure, the special before the general, and who says what they mean."""
