from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from bytewax.testing import TestingSource

from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.decode import Received
from dataflows.steps.profile import ProfileLogic, profile_step
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import Assignment, Erasure, ErasureReceipt, Event
from models.user.query import Query
from tests.experiments import experiments_from
from tests.flows.test_recommend import NOW, Run, an_event

RECORD = Record(0, 0, NOW, b"u", b"")
ERASED = Received(Erasure("x-1", "u", NOW), RECORD, "u")


def an_erasure(number: int, **changes: Any) -> Record:
    fields = {"erasure_id": f"x-{number}", "user_id": "u", "requested_at": NOW}
    message = fields | changes
    return Record(0, number, NOW, message["user_id"].encode(), orjson.dumps(message))


def a_user(experiments: Experiments | None = None) -> ProfileLogic:
    step = profile_step(Settings(), experiments or Experiments(), ItemTable(NOW), lambda: datetime.now(UTC), Counter())
    return ProfileLogic(None, step)


def seen(number: int) -> Received:
    return Received(
        Event(f"e-{number}", "u", "i-0", "view", NOW + number), RECORD._replace(timestamp=NOW + number), "u"
    )


def test_an_erased_user_leaves_no_state_and_starts_over(tmp_path: Path):
    stop: Any = TestingSource.EOF()
    events = [an_event(0), an_event(1), an_event(2, user_id="other"), stop, stop, an_event(3), an_event(4)]
    run = Run(events, store=tmp_path / "store", erasures=[stop, an_erasure(0)])
    for _ in range(3):
        run.run()
    written = [outgoing for _, outgoing in run._written["recommendations"]]
    assert [outgoing.value for outgoing in written if outgoing.value is None] == [None]
    ended = next(index for index, outgoing in enumerate(written) if outgoing.value is None)
    assert written[ended].key == "u"
    counts = [
        orjson.loads(outgoing.value or b"{}")["n_events"] for outgoing in written[ended + 1 :] if outgoing.key == "u"
    ]
    assert counts == [1, 2]


def test_an_erasure_ends_the_users_assignment_too():
    erased = Run([], erasures=[an_erasure(0), an_erasure(1, user_id="never-seen")]).run()
    for topic in ("recommendations", "assignments"):
        assert sorted((outgoing.key, outgoing.value) for _, outgoing in erased._written[topic]) == [
            ("never-seen", None),
            ("u", None),
        ]
    assert erased.counts["erased"] == 2


def test_what_comes_before_an_erasure_is_emitted_before_it_and_what_comes_after_starts_over():
    variants = [{"name": name, "weight": 1, "strategy": {}} for name in "ab"]
    user = a_user(experiments_from([{"name": "e", "variants": variants}]))
    emitted, discard = user.on_batch([seen(0), seen(1), ERASED, seen(2)])
    kinds = [type(output) for output in emitted]
    assert kinds == [Assignment, Query, Query, Erasure, ErasureReceipt, Assignment, Query]
    assert [output.n_events for output in emitted if isinstance(output, Query)] == [1, 2, 1]
    assert not discard


def test_a_user_whose_last_message_is_an_erasure_is_discarded():
    assert a_user().on_batch([seen(0), ERASED])[1] is ProfileLogic.DISCARD


def test_a_bad_erasure_is_a_dead_letter_and_erases_nobody():
    run = Run([an_event(0)], erasures=[an_erasure(0, erasure_id=""), an_erasure(1, requested_at=NOW + 10**9)]).run()
    assert [(letter["topic"], letter["reason"]) for letter in run["dead_letters"]] == [
        ("erasures", "invalid_value"),
        ("erasures", "future"),
    ]
    assert run.counts["erased"] == 0
