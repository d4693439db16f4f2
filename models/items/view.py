"""The item table as scoring reads it: arrays by dense row number, and look-ups.

Decayed weights are kept in landmark units (forward decay; Cormode, Shkapenyuk, Srivastava and Xu, 2009): a weight w as
of time t is stored as w * 2^((t - landmark) / half-life), so that weights of different times compare and nothing has to
be decayed again.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from models.items.columns import Columns
from models.items.eligibility import Eligibility
from models.items.postings import Postings
from models.items.sessions import SessionIndex
from models.items.trends import Trends
from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int8s, Int32s, Int64s

NO_ATTRIBUTES: Hash32s = np.empty(0, np.uint32)

T = TypeVar("T")


class ItemView:
    """What is known of the items; row numbers never leave the process.

    Parameters
    ----------
    columns : the arrays.
    landmark_at : the moment that stored weights refer to, Unix ms.
    half_life_short_ms, half_life_long_ms : of the published popularities.
    """

    def __init__(self, columns: Columns, landmark_at: int, half_life_short_ms: int, half_life_long_ms: int) -> None:
        self.columns = columns
        self.landmark_at = landmark_at
        """It moves when weights come from another time, so a reader takes it anew for each batch."""
        self.half_life_short_ms = half_life_short_ms
        self.half_life_long_ms = half_life_long_ms
        self.ids: list[str] = []
        """Of each row; empty until its own row or its catalog entry names it."""
        self.titles: list[str] = []
        self.learned_until = 0
        """Event time of the newest event that the applied rows had learned."""
        self.n_applied = 0
        """Rows that changed the table so far."""
        self.has_catalog = False
        """Whether a catalog entry was ever applied. From then on only items in the catalog are recommended: what it no
        longer holds was removed, even where nobody remembers the removal. Without a catalog, every named item is."""
        self.sessions = SessionIndex(columns)
        """The most recent sessions, by their items."""
        self.eligibility = Eligibility()
        """What the catalog's items require of a user, and what excludes one."""
        self._postings = Postings(self.columns)
        self._trends = Trends(half_life_short_ms)
        self._names: dict[int, str] = {}
        self._facts: dict[int, tuple[Hash32s, float]] = {}
        self._popular: dict[int, list[Hash32s]] = {}
        self._derived: dict[Hashable, Any] = {}

    @property
    def n(self) -> int:
        """Rows in use."""
        return self.columns.n

    @property
    def hashes(self) -> Int64s:
        """(N,) item hashes."""
        return self.columns.hashes

    @property
    def attributes(self) -> Hash32s:
        """(N, 8) attribute hashes, 0 where there are fewer."""
        return self.columns.attributes

    @property
    def category(self) -> Hash32s:
        """(N,) hash of the first category, 0 for none."""
        return self.columns.category

    @property
    def price(self) -> Floats:
        """(N,) prices, nan where unknown."""
        return self.columns.price

    @property
    def created_at(self) -> Int64s:
        """(N,) the catalog's time, else when the item was first seen; Unix ms."""
        return self.columns.created_at

    @property
    def available(self) -> Bools:
        """(N,) false where the catalog says so or removed the item."""
        return self.columns.available

    @property
    def named(self) -> Bools:
        """(N,) false while an item is known by its hash alone."""
        return self.columns.named

    @property
    def in_catalog(self) -> Bools:
        """(N,) whether the catalog holds the item."""
        return self.columns.in_catalog

    @property
    def vectors(self) -> Int8s:
        """(N, 64) content vectors of length 127."""
        return self.columns.vectors

    @property
    def neighbours(self) -> Int32s:
        """(N, K) rows, -1 where there are fewer."""
        return self.columns.neighbours

    @property
    def rule_weights(self) -> Floats:
        """(N, K) weights of the rule item -> neighbour, in landmark units of the long half-life."""
        return self.columns.rule_weights

    @property
    def rule_totals(self) -> Doubles:
        """(N,) each item's rule weights added up."""
        return self.columns.rule_totals

    @property
    def covisit_weights(self) -> Floats:
        """(N, K) weights of both seen in a session, in landmark units of the long half-life."""
        return self.columns.covisit_weights

    @property
    def popularity(self) -> Floats:
        """(N, 2) decayed events at the short and the long half-life, each in its landmark units."""
        return self.columns.popularity

    @property
    def posting_new(self) -> Int32s:
        """(P, 32) newest available items of an attribute, -1 where there are fewer."""
        return self._postings.newest

    @property
    def posting_popular(self) -> Int32s:
        """(P, 32) most popular available items of an attribute, -1 where there are fewer."""
        return self._postings.popular

    @property
    def posting_n(self) -> Int32s:
        """(P,) available items that carry an attribute."""
        return self._postings.n_items

    def posting_of(self, attributes: Hash32s) -> Int32s:
        """Look up (M,) attribute hashes: (M,) posting numbers, -1 where no item carries one."""
        return self._postings.numbers_of(attributes)

    def rows_of(self, hashes: Int64s) -> Int32s:
        """Look up (M,) item hashes: (M,) rows, -1 where an item is unknown."""
        return self.columns.rows_of(hashes)

    def trending(self, segment: int) -> tuple[Int32s, Floats]:
        """Return what trends in a segment: (T,) rows and weights, best first, T at most 500."""
        return self._trends.best(segment, self.columns)

    def derived(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` makes of the table under this name: made once, until the table changes."""
        if name not in self._derived:
            self._derived[name] = make()
        made: T = self._derived[name]
        return made

    def _changing(self) -> None:
        """Forget what was derived."""
        self._popular.clear()
        self._derived.clear()

    def popular_attributes(self, segment: int, draw: int) -> Hash32s:
        """Return the attributes of an item that trends in a segment; none where nothing trends.

        Parameters
        ----------
        draw : which item, the same for the same number as long as the trend is the same; 0 or above.
        """
        popular = self._popular.get(segment)
        if popular is None:
            rows, _ = self.trending(segment)
            popular = [self.facts(item)[0] for item in self.hashes[rows].tolist()] or [NO_ATTRIBUTES]
            self._popular[segment] = popular
        return popular[draw % len(popular)]

    def attribute_name(self, attribute: int) -> str:
        """Return an attribute's value as a person would say it: `Drama`; empty for an unknown one."""
        return self._names.get(attribute, "").partition("=")[2]

    def facts(self, item: int) -> tuple[Hash32s, float]:
        """Return an item's (M,) attribute hashes, M at most 8, and its price (0 unknown); none for an unknown item."""
        facts = self._facts.get(item)
        if facts is None:
            row = self.columns.row_of(item)
            if row < 0:
                return NO_ATTRIBUTES, 0.0
            attributes, price = self.attributes[row], float(self.price[row])
            facts = self._facts[item] = (attributes[attributes != 0], 0.0 if math.isnan(price) else price)
        return facts
