import pytest

from dataflows.topics import FLOWS, TOPICS, Topic, declare, declare_of
from models import messages
from models.config import MAX_WINDOW_S


def by_name(topics: tuple[Topic, ...]) -> dict[str, Topic]:
    return {topic.name: topic for topic in topics}


def test_cleanup_is_that_of_the_public_contract() -> None:
    assert {topic.name: topic.cleanup for topic in TOPICS} == {
        "events": "delete",
        "requests": "delete",
        "catalog": "compact",
        "erasures": "delete",
        "recommendations": "compact,delete",
        "assignments": "compact,delete",
        "model-updates": "compact",
        "experiment-results": "compact",
        "dead-letters": "compact,delete",
        "erasure-receipts": "compact",
        "control": "delete",
    }


def test_every_public_topic_carries_a_message_of_the_core() -> None:
    public = {
        "events",
        "requests",
        "catalog",
        "erasures",
        "recommendations",
        "assignments",
        "dead-letters",
        "erasure-receipts",
    }
    assert all(hasattr(messages, topic.value) for topic in TOPICS if topic.name in public)


def test_a_prefix_is_put_before_every_name_and_changes_nothing_else() -> None:
    plain, prefixed = declare(), declare("shop-")
    assert [topic.name for topic in prefixed] == [f"shop-{topic.name}" for topic in plain]
    assert [(topic.cleanup, topic.config) for topic in prefixed] == [(topic.cleanup, topic.config) for topic in plain]


@pytest.mark.parametrize("window_s", [1, MAX_WINDOW_S, 90 * 86_400])
def test_a_slate_is_neither_compacted_nor_deleted_while_feedback_on_it_counts(window_s: int) -> None:
    topics = by_name(declare("", window_s))
    for name in ("recommendations", "assignments"):
        config = topics[name].config
        assert int(config["min.compaction.lag.ms"]) > 1_000 * window_s
        assert int(config["max.compaction.lag.ms"]) > int(config["min.compaction.lag.ms"])
        assert int(config["retention.ms"]) >= int(config["min.compaction.lag.ms"])


def test_only_the_control_topic_has_a_fixed_number_of_partitions_one() -> None:
    assert [topic.name for topic in TOPICS if topic.partitions is not None] == ["control"]
    assert by_name(TOPICS)["control"].partitions == 1


def test_a_topics_settings_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TOPICS[0].config["retention.ms"] = "1"  # type: ignore[index]


def test_every_topic_has_a_flow_that_touches_it() -> None:
    touched = {name for topics in FLOWS.values() for name in (*topics.reads, *topics.writes)}
    assert touched == {topic.name for topic in TOPICS}
    assert [topic.name for topic in declare_of("learn", "shop-")] == [
        f"shop-{name}"
        for name in (
            "events", "catalog", "erasures", "recommendations", "model-updates", "dead-letters", "erasure-receipts",
            "control",
        )
    ]  # fmt: skip
