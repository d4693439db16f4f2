"""What Prometheus is told, as it reads it."""

from collections import Counter
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dataflows.kafka.shared_consumer import Inbox
from dataflows.run.metrics import FlowMetrics, age_of
from dataflows.run.runtime import Health


def told(metrics: FlowMetrics) -> dict[str, float]:
    """Return each sample by its name and labels."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        ",".join([sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))]): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_is_counted_is_told_as_it_stands():
    counts = Counter(applied=2)
    metrics = FlowMetrics("recommend", counts)
    counts["applied"] += 3
    found = told(metrics)
    assert found["eddy_messages_total,flow=recommend,outcome=applied"] == 5
    assert [value for name, value in found.items() if name.startswith("eddy_build_info,flow=recommend,version=")] == [1]
    assert found["process_resident_memory_bytes"] > 1e6


def test_times_are_put_in_bins_and_commits_are_told_by_topic():
    metrics = FlowMetrics("learn", Counter())
    metrics.slate_seconds.observe(0.03)
    metrics.commits_of("model-updates")(0.004)
    found = told(metrics)
    assert found["eddy_event_to_slate_seconds_bucket,flow=learn,le=0.025"] == 0
    assert found["eddy_event_to_slate_seconds_bucket,flow=learn,le=0.05"] == 1
    assert found["eddy_commit_seconds_count,flow=learn,topic=model-updates"] == 1


def test_health_tells_readiness_pauses_and_the_newest_snapshot():
    health = Health("evaluate")
    assert told(health.metrics)["eddy_ready,flow=evaluate"] == 0
    health.ready = True
    health.pauses.begin_snapshot(10.0)
    health.pauses.add(10.1, 10.6)
    health.pauses.add(12.0, 12.1)
    found = told(health.metrics)
    assert found["eddy_ready,flow=evaluate"] == 1
    assert round(found["eddy_longest_pause_seconds,during=snapshot,flow=evaluate"], 3) == 0.5
    assert found["eddy_snapshot_seconds_count,flow=evaluate"] == 1
    assert found["eddy_last_snapshot_timestamp_seconds,flow=evaluate"] > 1.7e9


def test_what_is_looked_up_is_of_the_moment_of_the_question(tmp_path: Path):
    metrics, lags = FlowMetrics("recommend", Counter()), {("events", "0"): 7.0}
    metrics.watch_by("eddy_lag", "Behind.", ("topic", "partition"), lags.items)
    metrics.watch_store(tmp_path)
    (tmp_path / "part-0.sqlite3").write_bytes(b"1234")
    lags["events", "1"] = 9.0
    found = told(metrics)
    assert found["eddy_lag,flow=recommend,partition=1,topic=events"] == 9
    assert found["eddy_store_bytes,flow=recommend"] == 4


def test_an_age_is_never_below_0_and_0_where_nothing_is_known():
    assert (age_of(0), age_of(2**52)) == (0, 0)
    assert age_of(1_000) > 1e9


def test_an_inbox_knows_what_comes_next():
    assert Inbox(5).next == 5
