"""Where the versions of a new state's rows begin."""

from datetime import datetime


def first_version(now: datetime) -> int:
    """Return a version above those of any state that was made a moment earlier.

    Rows count up from here by what was added to them. Should a recovery store be lost, the rows of the state
    that takes its place still rise above those that consumers already have: by 2**20 a millisecond, more than
    anybody adds to a row.
    """
    return int(now.timestamp() * 1_000) << 20
