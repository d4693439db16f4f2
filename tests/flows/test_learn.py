import re
from datetime import timedelta

import numpy as np
import orjson
from bytewax.testing import cluster_main

from dataflows.run.settings import EventSettings, LearnSettings, Settings
from models.config import ProfileConfig
from models.numeric.ids import hash64
from tests.flows.learning import (
    FAR_AHEAD,
    LONG_AGO,
    Run,
    an_entry,
    an_event,
    garbage,
    many_events,
    neighbours_of,
    version_of,
)


def test_views_in_a_row_become_neighbours():
    rows = Run([an_event(1, item="a"), an_event(2, item="b"), an_event(3, item="c")]).run().rows
    assert neighbours_of(rows["neighbours/a"]) == [hash64("b"), hash64("c")]
    assert set(neighbours_of(rows["neighbours/b"])) == {hash64("a"), hash64("c")}


def test_a_users_session_is_published_as_it_stands():
    events = [an_event(1, "u-1", "a"), an_event(2, "u-2", "b"), an_event(3, "u-1", "c")]
    for now in (LONG_AGO, FAR_AHEAD):
        rows = Run(events, now=now).run().rows
        assert neighbours_of(rows[f"sessions/{hash64('u-1') % (1 << 18)}"]) == [hash64("a"), hash64("c")]


def test_items_trend_in_their_segment_and_for_everybody():
    rows = Run([an_event(1, context={"device": "tv"}), an_event(2, item="b")]).run().rows
    trending: dict[str, set[int]] = {}
    for key, value in rows.items():
        if found := re.fullmatch(r"trending/(.+)/\d+", key):
            trending.setdefault(found[1], set()).update(neighbours_of(value))
    both = {hash64("a"), hash64("b")}
    assert trending == {"device=tv": {hash64("a")}, "daypart=evening": both, "all": both}


def test_users_do_not_mix():
    rows = Run([an_event(1, "u-1", "a"), an_event(2, "u-2", "b"), an_event(3, "u-1", "c")]).run().rows
    assert neighbours_of(rows["neighbours/a"]) == [hash64("c")]
    assert neighbours_of(rows["neighbours/b"]) == []


def test_impressions_and_events_without_consent_leave_no_trace():
    run = Run([an_event(1, event_type="impression"), an_event(2, item="b", consent=False)]).run()
    assert run.rows == {}


def test_what_teaches_nothing_is_counted_by_reason():
    settings = Settings(
        learn=LearnSettings(shards=4, min_users=1), profile=ProfileConfig(max_events_per_5_min=2, lateness_s=60)
    )
    run = Run(
        [garbage(), *(an_event(1) for _ in range(2)), *(an_event(n) for n in range(100, 104)), an_event(2)],
        settings=settings,
    ).run()
    assert run.counts == {"truncated": 1, "repeated": 1, "bot": 3, "late": 1}
    assert run.letters == []


def test_event_types_weigh_what_the_settings_say():
    settings = Settings(learn=LearnSettings(shards=1), events=EventSettings(weights={"nod": 2.5}, segment_fields=()))
    rows = Run([an_event(1, event_type="nod"), an_event(2, item="b")], settings=settings).run().rows
    assert set(rows) == {"neighbours/a", "trending/all/0", f"sessions/{hash64('u-1') % (1 << 18)}"}
    value = rows["neighbours/a"]
    assert value is not None
    assert np.frombuffer(value, np.float32, 2, 48).tolist() == [2.5, 2.5]


def test_a_bad_catalog_entry_becomes_a_dead_letter_and_the_good_ones_go_on():
    run = Run(catalog=[an_entry(0, "a"), garbage(1), an_entry(2, "b")]).run()
    assert set(run.rows) == {"content/a", "content/b"}
    [(key, letter)] = run.letters
    assert key == letter.record_id == "catalog/0/1"
    assert letter.value is not None
    assert orjson.loads(letter.value)["reason"] == "truncated"


def test_content_is_published_when_it_changes_and_ended_when_the_item_is_removed():
    entries = [an_entry(0), an_entry(1), an_entry(2, title="A lantern"), an_entry(3, title=None)]
    run = Run(catalog=entries).run()
    assert [outgoing.value is None for _, outgoing in run.written] == [False, False, True]
    first, second = run.versions("content/a")
    assert second == first + 1


def test_versions_of_a_row_rise():
    run = Run(many_events()).run()
    versions = run.versions("neighbours/i-3")
    assert len(versions) > 10
    assert versions == sorted(set(versions))


def test_batches_change_neither_the_rows_nor_their_versions():
    whole = Run(many_events(), batch_size=300).run().rows
    for batch_size in (1, 7):
        rows = Run(many_events(), batch_size=batch_size).run().rows
        assert {key: version_of(value or b"") for key, value in rows.items()} == {
            key: version_of(value or b"") for key, value in whole.items()
        }
        assert {key: set(neighbours_of(value)) for key, value in rows.items()} == {
            key: set(neighbours_of(value)) for key, value in whole.items()
        }


def test_changes_within_the_publishing_time_are_published_once():
    run = Run(many_events(), now=FAR_AHEAD).run()
    assert len(run.written) == len(run.rows)


def test_two_workers_end_with_the_same_rows_and_versions():
    one, two = Run(many_events()).run(), Run(many_events())
    cluster_main(two.flow(), [], 0, epoch_interval=timedelta(0), worker_count_per_proc=2)
    assert set(two.rows) == set(one.rows)
    for key in one.rows:
        assert max(two.versions(key)) == max(one.versions(key))


def test_events_of_a_time_that_their_producer_made_up_leave_honest_popularity_alone():
    """Sixty-four of them, one for each shard, took it from 800 to 0 for good: the record's time is the producer's."""
    end = 2**53 - 1
    honest = [an_event(n, f"u-{n}", "a") for n in range(40)]
    hostile = [
        an_event(n, f"x-{n}", f"i-{n}", timestamp=end)._replace(timestamp=timestamp)
        for n, timestamp in enumerate([end, 2**63 - 1] * 32)
    ]
    learned, undisturbed = Run([*honest, *hostile]).run(), Run(honest).run()
    assert learned.counts["future"] == len(hostile)
    assert learned.rows == undisturbed.rows
