"""One file of messages makes the same queries in the flow, in the walk and in both protocols of the backtest."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import bytewax.operators as op
import numpy as np
import orjson
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.codecs import event_decoder, request_decoder
from dataflows.records import Record
from dataflows.run.settings import EventSettings, Settings
from dataflows.steps.decode import Received
from dataflows.steps.profile import profile, profile_step
from models.config import ProfileConfig
from models.counts.item_side import ItemSide
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import DeadLetter, Event, Item, Request
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.contender import Predictions
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.prequential import Prequential
from models.offline.backtest.session_protocol import replay_sessions
from models.offline.walk import Users, WalkConfig, walk
from models.serving.ranked import Ranked
from models.serving.recommender import Recommender
from models.strategy import Strategy
from models.user.query import Query

NOW = 1_700_000_000_000
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
ITEMS = [
    Item(f"i-{n}", title=f"Lantern {n}", categories=[f"c{n % 3}"], tags=[f"t{n % 5}"], price=5.0 + n) for n in range(12)
]
SETTINGS = Settings(
    events=EventSettings(
        triggers=frozenset({"view", "dislike", "rating", "impression"}),
        conflate=3,
        segment_fields=("device", "daypart"),
        text_field="wrote",
    ),
    profile=ProfileConfig(max_events_per_5_min=12),
)
KINDS = ("view", "view", "click", "rating", "impression", "dislike", "purchase", "unheard-of")


@dataclass(frozen=True)
class Line:
    """A line of the file."""

    message: Event | Request
    visit: str
    """Which visit of its user it belongs to, by the session id or by the pauses."""


def a_file(seed: int = 5) -> list[Line]:
    """Write what six users did, in the order of arrival.

    Everybody comes twice, three hours apart; the even ones name their sessions. Some of it comes late, twice or without
    consent, some is of a type that nobody declared, and the last user is a bot for a while.
    """
    random = Random(seed)  # noqa: S311 - no secret is made of it
    lines: list[Line] = []
    for number in range(360):
        user, visit = number // 2 % 6, number // 180
        at = NOW + visit * 3 * HOUR + number % 180 * 9 * SECOND
        if user == 5 and number > 240:
            at = NOW + 3 * HOUR + 60 * 9 * SECOND + number
        name, session = f"u-{user}", f"s-{user}-{visit}"
        context = random.choice((None, {"device": "mobile", "hour": 20}, {"device": "tv", "wrote": "a blue lantern"}))
        event = Event(
            f"e-{number}", name, f"i-{random.randrange(12)}", random.choice(KINDS), at,
            session_id=session if user % 2 == 0 else None,
            value=float(random.randrange(1, 6)),
            context=context,
            consent=random.random() > 0.1,
        )  # fmt: skip
        if visit and random.random() < 0.08:
            event = replace(event, timestamp=at - 12 * MINUTE)
        lines.append(Line(event, session))
        if random.random() < 0.05:
            lines.append(lines[-1])
        if random.random() < 0.2:
            page = Request(
                f"r-{number}", name, at, random.choice((None, "i-3")), random.choice((None, 4)),
                query=random.choice((None, None, "a lamp")),
                candidates=random.choice((None, ["i-1", "i-2"])),
                context=context,
            )  # fmt: skip
            lines += [Line(page, session)] * random.choice((1, 2))
    return lines


def in_time_order(lines: Sequence[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.message.timestamp)


def events_of(lines: Sequence[Line]) -> list[Event]:
    return [line.message for line in lines if isinstance(line.message, Event)]


def a_side() -> ItemSide:
    """Learn what others did before, so that something is popular and every item has its facts."""
    side = ItemSide(ITEMS, NOW, SETTINGS.learn, SETTINGS.events, SETTINGS.profile)
    side.learn([Event(f"p-{n}", f"o-{n % 9}", f"i-{n * n % 7}", "view", NOW - HOUR + n) for n in range(200)])
    return side


def now() -> datetime:
    return datetime.now(UTC)


class Flow:
    """The profile step of the recommend flow, over records that were decoded as the flow does it."""

    def __init__(self, messages: Sequence[Event | Request]) -> None:
        events, requests = event_decoder(SETTINGS.events), request_decoder(SETTINGS.events)
        self.reasons: Counter[str] = Counter()
        received = []
        offset = 0
        for message in messages:
            at = message.timestamp + HOUR
            record = Record(0, offset, at, message.user_id.encode(), orjson.dumps(message))
            [decoded] = (events if isinstance(message, Event) else requests)([record])
            offset += isinstance(message, Event)
            if isinstance(decoded, DeadLetter):
                self.reasons[decoded.reason] += 1
            else:
                received.append((decoded.user_id, Received(decoded, record, decoded.user_id)))
        self.counts: Counter[str] = Counter()
        out: list[tuple[str, object]] = []
        flow = Dataflow("parity")
        step = profile_step(SETTINGS, Experiments(), a_side().table, now, self.counts)
        due = profile("profile", op.input("received", flow, TestingSource(received, 50)), step)
        op.output("due", due, TestingSink(out))
        run_main(flow)
        self.reasons.update(letter.reason for _, letter in out if isinstance(letter, DeadLetter))
        # Who does not consent is answered too, from nothing; nobody trains on that, and no backtest asks for it.
        made = [query for _, query in out if isinstance(query, Query) and query.consent]
        self.queries = {query.trigger_id: query for query in made}
        assert len(self.queries) == len(made)


class Listener:
    """A contender that only keeps what it is asked."""

    def __init__(self) -> None:
        self.name, self.strategy = "listener", Strategy()
        self.queries: list[Query] = []

    def predict(self, queries: Sequence[Query], _table: ItemTable, truth: Sequence[str]) -> Predictions:
        self.queries += queries
        n = len(truth)
        return Predictions(np.zeros(n, np.int64), np.full((n, 1), -1, np.int32), np.zeros(n, np.bool_))

    def reweigh(self, by_session: object) -> None: ...

    def adopt(self, checkpoint: object) -> None:
        """Rank nothing."""

    def server(self, _table: ItemTable) -> Callable[[Query], object]:
        return lambda query: query


def walk_config() -> WalkConfig:
    return WalkConfig((SETTINGS.strategy,), SETTINGS.events, SETTINGS.profile, SETTINGS.learn, publish_every=10_000)


def backtest_config() -> BacktestConfig:
    return BacktestConfig(
        repeats="keep", ties="order", warmup=0.0, learn_every=10_000, n_timed=0, events=SETTINGS.events,
        profile=SETTINGS.profile, item_side=SETTINGS.learn,
    )  # fmt: skip


def is_act(line: Line) -> bool:
    message = line.message
    kind = message.event_type if isinstance(message, Event) else ""
    return kind in {"view", "click", "rating", "purchase"} and message.consent


def last_trigger(lines: Sequence[Line], index: int, made: Mapping[str, Query]) -> Line | None:
    """Find the last event of the same user before an index of the file that made a slate."""
    user = lines[index].message.user_id
    return next(
        (
            line
            for line in reversed(lines[:index])
            if isinstance(line.message, Event) and line.message.user_id == user and line.message.event_id in made
        ),
        None,
    )


def with_pages(lines: Sequence[Line], pages: Mapping[int, Request]) -> list[Event | Request]:
    """Open pages before the indices of the file that they are given for."""
    return [
        message
        for index, line in enumerate(lines)
        for message in ([pages[index], line.message] if index in pages else [line.message])
    ]


def test_the_file_holds_what_could_be_treated_differently():
    flow = Flow([line.message for line in a_file()])
    assert flow.counts.keys() == {"applied", "duplicate", "late", "bot", "no_consent", "conflated"}
    assert flow.reasons.keys() == {"unknown_event_type", "late"}
    queries = list(flow.queries.values())
    assert {query.trigger for query in queries} == {"event", "request"}
    assert {bool(query.query) for query in queries if query.trigger == "event"} == {True, False}
    assert any(query.candidates for query in queries)
    types = {line.message.event_id: line.message.event_type for line in a_file() if isinstance(line.message, Event)}
    assert {types.get(query.trigger_id, "request") for query in queries} == {
        "view", "dislike", "rating", "impression", "request"
    }  # fmt: skip


@pytest.mark.parametrize("order", [list, in_time_order], ids=["arrival", "time"])
def test_the_walk_makes_the_flows_queries_of_events_and_requests(order: Callable[[list[Line]], list[Line]]):
    messages = [line.message for line in order(a_file())]
    users, table = Users(SETTINGS.profile, SETTINGS.events), a_side().table
    made = [query for message in messages if (query := users.query(message, table, SETTINGS.strategy))]
    expected = Flow(messages).queries
    assert {query.trigger_id: query for query in made} == expected
    assert len(made) == len(expected)


def test_the_walk_ranks_the_flows_queries_but_searches_and_those_after_which_nothing_was_done(
    monkeypatch: pytest.MonkeyPatch,
):
    lines, ranked = a_file(), []
    rank = Recommender.rank

    def listening(recommender: Recommender, queries: list[Query]) -> Ranked:
        ranked.extend(queries)
        return rank(recommender, queries)

    monkeypatch.setattr(Recommender, "rank", listening)
    n_examples = sum(
        examples.n for examples in walk([line.message for line in lines], [], walk_config(), None, a_side())
    )
    last_act = {line.message.user_id: index for index, line in enumerate(lines) if is_act(line)}
    first_index = {trigger_id(line): index for index, line in reversed(list(enumerate(lines)))}
    expected = {
        name: query
        for name, query in Flow([line.message for line in lines]).queries.items()
        if not query.query and first_index[name] < last_act[query.user_id]
    }
    assert {query.trigger_id: query for query in ranked} == expected
    assert len(expected) == n_examples == len(ranked) > 60


def trigger_id(line: Line) -> str:
    return line.message.event_id if isinstance(line.message, Event) else line.message.request_id


def test_the_session_protocol_asks_what_the_flow_asked_at_the_last_trigger_of_the_session():
    # Every session is a user of whom nothing is known.
    lines = [
        Line(replace(line.message, user_id=line.visit), line.visit)
        for line in in_time_order(a_file())
        if isinstance(line.message, Event)
    ]
    listener = Listener()
    outcomes = replay_sessions(
        events_of(lines), a_side().table, ItemCounts(), [listener], backtest_config(), lambda: 0, lambda *_: None
    )
    made = Flow(events_of(lines)).queries
    expected, pages = [], {}
    for visit in dict.fromkeys(line.visit for line in lines if line.message.consent):
        known = [index for index, line in enumerate(lines) if line.visit == visit and line.message.consent]
        for before, index in [pair for pair in pairwise(known) if is_act(lines[pair[1]])]:
            if any(is_act(lines[earlier]) for earlier in known if earlier < index):
                expected.append((index, last_trigger(lines, index, made)))
                pages[index] = Request(f"page-{index}", visit, lines[before].message.timestamp)
    assert [target.item_id for target in outcomes.targets] == [events_of(lines)[index].item_id for index, _ in expected]
    # Before any trigger it is a page that is opened with the act before.
    opened = Flow(with_pages(lines, pages)).queries
    assert listener.queries == [
        made[trigger_id(trigger)] if trigger else replace(opened[f"page-{index}"], trigger_id=trigger_id(lines[index]))
        for index, trigger in expected
    ]
    assert {query.trigger for query in listener.queries} == {"event", "request"}


def test_the_prequential_protocol_asks_what_a_page_opened_at_the_targets_time_would_have_asked():
    lines = [line for line in in_time_order(a_file()) if isinstance(line.message, Event)]
    listener, config = Listener(), backtest_config()
    protocol = Prequential(SETTINGS.strategy, a_side(), ItemCounts(), config, lambda: 0)
    outcomes = protocol.run(events_of(lines), [listener], lambda *_: None)
    made = Flow(events_of(lines)).queries
    targets = [index for index, line in enumerate(lines) if is_act(line)]
    assert [target.item_id for target in outcomes.targets] == [events_of(lines)[index].item_id for index in targets]
    pages, triggers = {}, {}
    for index in targets:
        message = lines[index].message
        page = Request(f"page-{index}", message.user_id, message.timestamp)
        trigger = triggers[index] = last_trigger(lines, index, made)
        if trigger is not None:
            is_there = trigger.visit == lines[index].visit
            item_id = events_of([trigger])[0].item_id if is_there else None
            page = replace(page, item_id=item_id, context=trigger.message.context)
        pages[index] = page
    opened = Flow(with_pages(lines, pages)).queries
    expected = []
    for index in targets:
        query, trigger = opened[f"page-{index}"], triggers[index]
        if trigger is None:
            expected.append(replace(query, trigger_id=trigger_id(lines[index])))
        else:
            text = query.query if trigger.visit == lines[index].visit else None
            expected.append(replace(query, trigger="event", trigger_id=trigger_id(trigger), query=text))
    assert listener.queries == expected
    assert {query.trigger for query in listener.queries} == {"event", "request"}
