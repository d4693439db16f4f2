from typing import Any

import numpy as np
import pytest

from models.config import ProfileConfig
from models.events import EventConfig
from models.items import ItemTable
from models.items.wire import TrendingRow
from models.messages import Event, Item, Request
from models.numeric.ids import hash32, hash64, hash_all
from models.segments import hashes_of
from models.strategy import Strategy
from models.user.profile import EventOutcome
from models.user.state import MAX_REQUESTS, MAX_TEXT, UserState
from tests.states import evidence_of

NOW = 1_700_000_000_000


def a_user(**events: Any) -> UserState:
    return UserState(ProfileConfig(), EventConfig(**events))


def an_event(number: int = 0, **changes: Any) -> Event:
    fields = {"user_id": "ann", "item_id": "tea", "event_type": "view", "timestamp": NOW + number} | changes
    return Event(f"e-{number}", **fields)


def a_request(number: int = 0, **changes: Any) -> Request:
    return Request(f"r-{number}", "ann", NOW + number, **changes)


def a_table(*popular: str) -> ItemTable:
    """Make a table of one kind of tea and of whatever is popular, each of a category of its own."""
    table = ItemTable(NOW)
    named = [Item(name, categories=[f"kind of {name}"]) for name in popular]
    table.apply_items([Item("tea", categories=["drinks"], price=4.0), *named], [])
    if popular:
        weights = np.ones(len(popular), np.float32)
        row = TrendingRow("all", 0, 1, NOW, items=hash_all(list(popular)), weights=weights)
        table.apply_rows([row.key.encode()], [row.pack()])
    return table


def liked_less(user: UserState) -> set[int]:
    preferences = evidence_of(user.due(an_event(), Strategy())).preferences
    return {attribute for attribute, weight in preferences.items() if weight < 0}


def kinds_of(*names: str) -> set[int]:
    return {hash32(f"category=kind of {name}") for name in names}


def test_an_event_teaches_what_the_table_knows_of_its_item():
    user, table = a_user(), a_table()
    assert user.apply(an_event(), table) is EventOutcome.APPLIED
    evidence = evidence_of(user.due(an_event(), Strategy()))
    assert evidence.interests.keys() == set(table.facts(hash64("tea"))[0].tolist())
    assert evidence.mean_price == 4.0


def test_an_act_teaches_that_its_item_is_preferred_to_popular_ones():
    user, table = a_user(), a_table("rum", "gin")
    for number in range(20):
        user.apply(an_event(number), table)
    assert liked_less(user) == kinds_of("rum", "gin")


def test_what_the_user_has_met_is_never_taken_to_be_liked_less():
    user, table = a_user(), a_table("rum", "gin", "ale", "tea")
    user.apply(an_event(0, item_id="rum", event_type="purchase"), ItemTable(NOW))
    for number in range(1, 40):
        # They fill the recent items, so that the rum is known by the purchase alone, and the gin by the last act.
        user.apply(an_event(number, item_id=f"unknown {number}"), ItemTable(NOW))
    user.apply(an_event(40, item_id="gin"), ItemTable(NOW))
    for number in range(41, 71):
        user.apply(an_event(number), table)
    assert liked_less(user) == kinds_of("ale")


def test_where_the_user_has_met_all_that_is_popular_nothing_is_taken_to_be_liked_less():
    user, table = a_user(), a_table("rum")
    user.apply(an_event(0, item_id="rum"), ItemTable(NOW))
    user.apply(an_event(1), table)
    assert liked_less(user) == set()


def test_what_was_shown_without_a_reaction_is_liked_less_instead_of_what_is_popular():
    user, table = a_user(), a_table("rum", "gin", "ale")
    for number, name in enumerate(("gin", "ale", "tea")):
        user.apply(an_event(number, item_id=name, event_type="impression"), table)
    user.apply(an_event(3, item_id="ale"), table)
    for number in range(4, 24):
        user.apply(an_event(number, event_type="impression"), table)
        user.apply(an_event(number + 100), table)
    assert liked_less(user) == kinds_of("gin")


@pytest.mark.parametrize("changes", [{"consent": False}, {"event_type": "unheard-of"}])
def test_what_may_not_be_known_changes_nothing(changes: dict[str, Any]):
    user = a_user()
    before = user.pack()
    assert user.apply(an_event(**changes), a_table()) is None
    assert user.pack() == before


def test_every_declared_type_but_impressions_makes_a_slate_unless_the_triggers_are_named():
    kinds = ("view", "dislike", "impression", "unheard-of")
    assert [a_user().is_due(an_event(event_type=kind), 0) for kind in kinds] == [True, True, False, False]
    named = a_user(triggers=frozenset({"impression"}))
    assert [named.is_due(an_event(event_type=kind), 0) for kind in kinds] == [False, False, True, False]


def test_of_the_triggers_in_a_run_of_offsets_the_first_makes_a_slate():
    user = a_user(conflate=4)
    assert [offset for offset in (1, 2, 3, 4, 7, 8, 13) if user.is_due(an_event(), offset)] == [1, 4, 8, 13]


def test_a_request_makes_a_slate_once_while_it_is_remembered():
    user = a_user(conflate=100)
    assert [user.is_due(a_request(n), 0) for n in (0, 1, 0)] == [True, True, False]
    assert all(user.is_due(a_request(n), 0) for n in range(2, MAX_REQUESTS + 1))
    assert user.is_due(a_request(0), 0)
    assert len(user.requests) == MAX_REQUESTS


def test_taking_a_message_applies_it_and_says_whether_it_makes_a_slate():
    user, table = a_user(), a_table()
    taken = [an_event(0), an_event(0), an_event(1, event_type="impression"), an_event(2, consent=False), a_request()]
    assert [user.take(message, 0, table) for message in taken] == [True, False, False, False, True]
    assert user.profile.n_events == 2


def test_a_query_passes_on_what_its_message_and_its_caller_say():
    context = {"device": "tv", "hour": 19}
    request = a_request(item_id="tea", query="green", candidates=["tea"], n_items=7, context=context)
    rival, strategy = Strategy(n_items=3), Strategy(n_items=2)
    query = a_user().due(request, strategy, experiment="e", variant="v", rival=rival)
    assert (query.trigger, query.trigger_id, query.user_id, query.at) == ("request", "r-0", "ann", NOW)
    assert (query.current_item, query.query, query.candidates, query.n_items) == (hash64("tea"), "green", ["tea"], 7)
    assert (query.context, query.segments) == (context, hashes_of(("device=tv", "daypart=evening", "all")))
    assert (query.strategy, query.experiment, query.variant, query.rival) == (strategy, "e", "v", rival)


def test_an_event_is_about_the_item_that_the_user_is_on():
    query = a_user().due(an_event(), Strategy())
    assert (query.trigger, query.trigger_id, query.current_item) == ("event", "e-0", hash64("tea"))
    assert (query.candidates, query.query, query.n_items) == (None, None, None)


def test_what_the_user_wrote_is_sought_unless_a_request_asks_for_something_else():
    user = a_user(text_field="wrote")
    context = {"wrote": "x" * 2_000}
    assert user.due(an_event(context=context), Strategy()).query == "x" * MAX_TEXT
    assert user.due(a_request(context=context, query="tea"), Strategy()).query == "tea"
    assert user.due(an_event(context={"wrote": 7}), Strategy()).query is None
    assert a_user().due(an_event(context=context), Strategy()).query is None


def test_a_restored_user_packs_alike_and_goes_on_alike():
    user, table = a_user(conflate=10), a_table()
    for offset in range(5):
        user.take(an_event(offset), offset, table)
        user.take(a_request(offset), offset, table)
    restored = UserState(user.profile.config, user.profile.events, user.pack())
    assert restored.pack() == user.pack()
    assert restored.due(a_request(9), Strategy()) == user.due(a_request(9), Strategy())
    assert not restored.is_due(a_request(4), 0)
    assert not restored.is_due(an_event(9), 9)
    assert restored.is_due(an_event(10), 10)
