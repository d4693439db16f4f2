"""Which slate an act is credited to: one rule for the rankers that learn from acts and the experiments judged by them.

An item's impression is the moment it was shown. An act on the item is credited to the slate that the platform names,
else to the slate of the newest impression that is not after the act; and only if the window, measured from that
impression, is still open. An act that came too late for the newest impression is credited to no older one.

The same rule says which slate an `impression` event is of: the slate named, else the newest with the item, for some
time after the slate was made.

What differs on purpose is what the callers offer, and what they do with a credited act:

==============  ================================================  ================================================
                `models.online.attribution`                       `models.experiments.judge.journal`
==============  ================================================  ================================================
decides         once a slate's windows have closed                with each observation in turn, as running sums
window          by event type                                     one for all acts
impressions     until `wait_ms` after the slate was made          while the slate is one of the newest
offers          all slates whose windows are open                 the newest `MAX_SLATES` since the exposure
same moment     an act counts for an item shown at that moment    acts come before impressions, both before slates
a second act    is feedback on the impression as well             adds nothing: an impression counts once
superseded      slates, by all acts until they close              slates, by the acts so far
negative acts   are feedback, as negatives                        are left out
learned acts    count                                             do not count: until `learned_until`
==============  ================================================  ================================================
"""

from collections.abc import Iterable
from typing import TypeAlias

ANY_SLATE = 0
"""What an event holds in place of a slate's hash where the platform names none."""

ItemImpression: TypeAlias = tuple[int, int, int]
"""An item shown by a slate: event time in Unix ms, a number that rises with the time at which the slate was made, and
the hash of the slate. The greatest of several is the newest; of one moment, that of the slate made last."""


def credited(at: int, named: int, newest_first: Iterable[ItemImpression], window_ms: int) -> ItemImpression | None:
    """Find what an act on an item is credited to; None where it is credited to no slate.

    Parameters
    ----------
    at : event time of the act, Unix ms.
    named : hash of the slate that the platform says the act came from, or `ANY_SLATE`.
    newest_first : impressions of the item.
    window_ms : how long after its impression an act still counts.
    """
    for impression in newest_first:
        shown_at, _, slate = impression
        if shown_at <= at and named in (ANY_SLATE, slate):
            return impression if at - shown_at <= window_ms else None
    return None
