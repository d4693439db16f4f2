"""Eligibility of a batch: which items each query may not be shown, whatever they score."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from models.items import ItemTable
from models.items.columns import NEVER
from models.items.eligibility import stated_by
from models.numeric.arrays import Bools, Int32s, Int64s
from models.user.query import Query
from models.user.record import States


@dataclass(frozen=True, slots=True)
class Ineligible:
    """What a batch may not be shown."""

    locked: Int32s
    """(L,) rows whose requirements nobody of the batch meets: no query has to name them."""
    owners: Int64s
    """(M,) query of each row that is closed to some query only."""
    rows: Int32s
    """(M,)"""

    @classmethod
    def of(cls, queries: list[Query], records: States, table: ItemTable) -> "Ineligible":
        """Judge each query by what its user has.

        A requirement is met by what the user owns and by what the context states; an exclusion holds for those, and
        for what the user has acted on of late, whatever the act. What has expired by a query's moment is closed to it.
        """
        expired, rules = _expired(queries, table), table.eligibility
        if not rules:
            return expired
        has = [stated_by(query.context).union(query.owned) for query in queries]
        recent = [
            items[:n] for items, n in zip(records["recent_items"].tolist(), records["n_recent"].tolist(), strict=True)
        ]
        opened = [rules.opened_by(hashes) for hashes in has]
        excluded = [rules.closed_by(hashes.union(acted)) for hashes, acted in zip(has, recent, strict=True)]
        # What some of the batch may be shown is closed to the others one by one; all else is locked for all at once.
        by_some: set[int] = set().union(*opened)
        closed = [(by_some - mine) | shut for mine, shut in zip(opened, excluded, strict=True)]
        sizes = [len(rows) for rows in closed]
        return cls(
            np.concatenate([expired.locked, _array(rules.requiring - by_some)]),
            np.concatenate([expired.owners, np.arange(len(queries)).repeat(sizes)]),
            np.concatenate([expired.rows, _array(row for rows in closed for row in rows)]),
        )

    def allows(self, owners: Int64s, rows: Int32s) -> Bools:
        """Say of (K,) rows whether the query (K,) that asks for each may be shown it; -1 is an unknown row."""
        if not len(self.rows) and not len(self.locked):
            return np.ones(len(rows), np.bool_)
        closed = set(zip(self.owners.tolist(), self.rows.tolist(), strict=True))
        pairs = zip(owners.tolist(), rows.tolist(), strict=True)
        one_by_one = np.fromiter((pair not in closed for pair in pairs), np.bool_, len(rows))
        allowed: Bools = one_by_one & ~np.isin(rows, self.locked)
        return allowed


_NOTHING = Ineligible(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int32))


def _expired(queries: list[Query], table: ItemTable) -> Ineligible:
    """Find what has expired: by the first query's moment for all, by later ones' for these alone."""
    rows, until = table.derived("expiring", lambda: _expiring(table))
    if not len(rows):
        return _NOTHING
    at = np.array([query.at for query in queries], np.int64)
    first, last = (int(np.searchsorted(until, moment, "right")) for moment in (at.min(), at.max()))
    owners, between = np.nonzero(until[first:last] <= at[:, None])
    return Ineligible(rows[:first], owners, rows[first:last][between])


def _expiring(table: ItemTable) -> tuple[Int32s, Int64s]:
    """List the rows that expire at all, and when, the first to expire first."""
    rows = np.flatnonzero(table.expires_at[: table.n] < NEVER).astype(np.int32)
    rows = rows[np.argsort(table.expires_at[rows], kind="stable")]
    return rows, table.expires_at[rows]


def _array(rows: Iterable[int]) -> Int32s:
    return np.array(list(rows), np.int32)
