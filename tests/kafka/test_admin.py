from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from dataflows.demo.broker_process import free_port
from dataflows.kafka.admin import (
    Admin,
    TopicError,
    UnreachableError,
    create_topics,
    list_topics,
    partitions_of,
)
from dataflows.kafka.check import check_topics, whose_times
from dataflows.kafka.consumers import bounds_of
from dataflows.topics import DAY_MS, Topic, declare

pytestmark = pytest.mark.kafka

MakeTopics = Callable[..., str]


@pytest.fixture
def cluster(broker: str) -> dict[str, str]:
    return {"bootstrap.servers": broker}


@pytest.fixture
def prefix(fresh_prefix: Callable[[], str]) -> str:
    return fresh_prefix()


def a_topic(prefix: str, **changes: object) -> Topic:
    topic = Topic(f"{prefix}slates", "user_id", "Slate", "recommend", "compact,delete", {"retention.ms": str(DAY_MS)})
    return replace(topic, **changes)  # type: ignore[arg-type]


def texts(cluster: dict[str, str], topic: Topic, partitions: int = 1) -> list[tuple[str, str]]:
    return [(problem.severity, problem.text) for problem in check_topics(cluster, [topic], partitions)]


def test_all_topics_are_made_as_they_are_declared(cluster: dict[str, str], prefix: str) -> None:
    topics = declare(prefix)
    made = create_topics(cluster, topics, 3)
    assert [(one.topic, one.outcome, one.partitions) for one in made] == [
        (topic.name, "created", topic.partitions or 3) for topic in topics
    ]
    admin = Admin(cluster)
    for topic in topics:
        config = admin.config(topic.name, 10)
        wanted = {"cleanup.policy": topic.cleanup, **topic.config}
        assert {name: config[name] for name in wanted} == wanted
    assert check_topics(cluster, topics, 3) == []


@pytest.mark.parametrize(
    ("kind", "text"), [("CreateTime", "dated by their producers' clocks"), ("LogAppendTime", "the broker dates")]
)
def test_whose_clock_dates_a_topics_records_is_told(cluster: dict[str, str], prefix: str, kind: str, text: str) -> None:
    topic = Topic(f"{prefix}events", "user_id", "Event", "platform", "delete", {"message.timestamp.type": kind})
    create_topics(cluster, [topic], 1)
    told = whose_times(cluster, topic.name) or ""
    assert f"message.timestamp.type={kind}" in told
    assert text in told
    assert whose_times(cluster, f"{prefix}absent") is None


def test_making_topics_again_leaves_them_as_they_are(cluster: dict[str, str], prefix: str) -> None:
    create_topics(cluster, [a_topic(prefix)], 2)
    again = create_topics(cluster, [a_topic(prefix), a_topic(prefix, name=f"{prefix}new")], 5)
    assert [(one.outcome, one.partitions) for one in again] == [("exists", 2), ("created", 5)]


def test_a_topic_that_was_made_takes_messages_at_once(cluster: dict[str, str], topics: MakeTopics) -> None:
    prefix, failures = topics(), []
    producer = Producer(cluster | {"message.timeout.ms": 20_000})
    for topic in declare(prefix):
        producer.produce(topic.name, b"{}", key=b"k", on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(30) == 0
    assert failures == [None] * len(declare(prefix))


def test_each_test_gets_a_prefix_of_its_own(topics: MakeTopics) -> None:
    assert topics() != topics()


def test_a_topic_that_is_refused_is_an_error_with_the_clusters_text(cluster: dict[str, str], prefix: str) -> None:
    with pytest.raises(TopicError, match=f"would not make topic {prefix}slates: .*replicat"):
        create_topics(cluster, [a_topic(prefix)], 1, replication=1_000)


def test_asking_about_a_missing_topic_does_not_make_it(cluster: dict[str, str], prefix: str) -> None:
    with pytest.raises(TopicError, match="eddy topics create"):
        partitions_of(cluster, f"{prefix}slates")
    ((severity, text),) = texts(cluster, a_topic(prefix))
    assert severity == "error"
    assert text.startswith(f"{prefix}slates is missing: run `eddy topics create`")
    assert f"{prefix}slates" not in list_topics(cluster)


def test_partitions_are_counted(cluster: dict[str, str], prefix: str) -> None:
    create_topics(cluster, [a_topic(prefix)], 3)
    assert partitions_of(cluster, f"{prefix}slates") == 3
    assert list_topics(cluster)[f"{prefix}slates"] == 3


def test_a_wrong_cleanup_policy_is_an_error_with_the_command_that_fixes_it(
    cluster: dict[str, str], prefix: str
) -> None:
    create_topics(cluster, [a_topic(prefix, cleanup="delete")], 1)
    [(severity, text)] = texts(cluster, a_topic(prefix))
    assert severity == "error"
    assert "cleanup.policy=delete instead of compact,delete" in text
    assert f"--entity-name {prefix}slates --add-config cleanup.policy=[compact,delete]" in text


def test_the_order_of_the_words_of_a_policy_does_not_matter(cluster: dict[str, str], prefix: str) -> None:
    create_topics(cluster, [a_topic(prefix, cleanup="delete,compact")], 1)
    assert texts(cluster, a_topic(prefix)) == []


def test_too_few_partitions_are_a_warning_and_more_are_fine(cluster: dict[str, str], prefix: str) -> None:
    create_topics(cluster, [a_topic(prefix)], 2)
    [(severity, text)] = texts(cluster, a_topic(prefix), partitions=4)
    assert severity == "warning"
    assert "has 2 of 4 partitions" in text
    assert texts(cluster, a_topic(prefix), partitions=1) == []


def test_a_fixed_number_of_partitions_is_exact(cluster: dict[str, str], prefix: str) -> None:
    create_topics(cluster, [a_topic(prefix)], 2)
    [(severity, text)] = texts(cluster, a_topic(prefix, partitions=1))
    assert severity == "error"
    assert "has 2 partitions and must have 1" in text


@pytest.mark.parametrize(
    ("name", "found", "wanted", "fits"),
    [
        ("retention.ms", "1000", "2000", False),
        ("retention.ms", "3000", "2000", True),
        ("retention.ms", "-1", "2000", True),
        ("min.compaction.lag.ms", "0", "2000", False),
        ("max.compaction.lag.ms", "3000", "2000", False),
        ("max.compaction.lag.ms", "1000", "2000", True),
        ("min.cleanable.dirty.ratio", "0.5", "0.1", True),
    ],
)
def test_keeping_too_short_or_erasing_too_late_is_a_warning(
    cluster: dict[str, str], prefix: str, name: str, found: str, wanted: str, *, fits: bool
) -> None:
    create_topics(cluster, [a_topic(prefix, config={name: found})], 1)
    problems = texts(cluster, a_topic(prefix, config={name: wanted}))
    assert [severity for severity, _ in problems] == ([] if fits else ["warning"])
    assert all(f"{name}={found} instead of {wanted}" in text for _, text in problems)


def test_a_cluster_that_does_not_answer_is_one_problem_that_names_its_address_and_the_cause() -> None:
    address = f"127.0.0.1:{free_port()}"
    [problem] = check_topics({"bootstrap.servers": address}, declare(), 1, timeout_s=1)
    assert problem.topic is None
    assert problem.severity == "error"
    assert address in problem.text
    assert "refused" in problem.text


def test_topics_of_a_cluster_that_does_not_answer_cannot_be_made() -> None:
    with pytest.raises(UnreachableError, match="EDDY_KAFKA__BOOTSTRAP_SERVERS"):
        create_topics({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, declare(), 1, timeout_s=1)


class Electing:
    """A client that hears of no leader, so many times, then of the bounds."""

    def __init__(self, code: int, times: int) -> None:
        self._failures = [KafkaException(KafkaError(code))] * times

    def get_watermark_offsets(self, _part: TopicPartition, _timeout_s: float) -> tuple[int, int]:
        if self._failures:
            raise self._failures.pop()
        return 3, 8


def test_a_partition_that_gets_its_leader_is_asked_again() -> None:
    assert bounds_of(cast("Consumer", Electing(KafkaError.NOT_LEADER_FOR_PARTITION, 2)), "events", 0) == (3, 8)


def test_without_a_leader_it_gives_up_in_time() -> None:
    never = cast("Consumer", Electing(KafkaError.LEADER_NOT_AVAILABLE, 1_000))
    with pytest.raises(KafkaException):
        bounds_of(never, "events", 0, timeout_s=0.2)


def test_any_other_failure_is_raised_at_once() -> None:
    with pytest.raises(KafkaException):
        bounds_of(cast("Consumer", Electing(KafkaError.TOPIC_AUTHORIZATION_FAILED, 1)), "events", 0)
