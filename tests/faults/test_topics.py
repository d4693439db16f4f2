"""Topics that are deleted, made again, grown, cut or set otherwise under a flow."""

import os
import time
from collections.abc import Callable

import orjson
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from dataflows.kafka.writer import KafkaWriter
from tests.faults.scene import Scene, last_words
from tests.kafka.flows import FlowUnderTest

Tell = Callable[[str], None]


def working(scene: Scene, **settings: str) -> FlowUnderTest:
    """Start a flow that has made 200 slates and snapshot them."""
    flow = scene.flow(**settings)
    scene.platform.write(200)
    scene.platform.wait_for("recommendations", 200)
    scene.wait_for_snapshot()
    return flow


def test_output_topic_deleted(scene: Scene, tell: Tell) -> None:
    flow = working(scene)
    scene.delete("assignments")
    scene.platform.write(100)
    tell(last_words(flow, scene.topic("assignments")))


def test_input_topic_deleted(scene: Scene, tell: Tell) -> None:
    flow = working(scene)
    scene.delete("events")
    seen = last_words(flow, "events was deleted", "eddy topics create")
    scene.make_topics()
    flow.start()
    tell(f"{seen}. Then: {last_words(flow, 'another one of its name', 'EDDY_KAFKA__LOST_OFFSETS=earliest')}")


def test_input_topic_made_again_and_shorter_while_stopped(scene: Scene, tell: Tell) -> None:
    flow = working(scene)
    flow.end(15)
    scene.delete("events")
    scene.make_topics()
    flow.start()
    seen = last_words(flow, "another one of its name", "EDDY_KAFKA__LOST_OFFSETS=earliest")
    again = scene.flow(EDDY_KAFKA__LOST_OFFSETS="earliest")
    scene.platform.write(100)
    tell(f"{seen}. With that setting: {scene.drain_and_count(again)}")


def test_partitions_added_to_input_and_output_while_running(scene: Scene, tell: Tell) -> None:
    flow = working(scene)
    for name in ("events", "recommendations", "assignments"):
        topic = scene.topic(name)
        scene.admin.create_partitions([NewPartitions(topic, 5)])[topic].result()
    seen = last_words(flow, "has grown from 2 to 5 partitions", "start the flow again")
    scene.platform.write(300)
    flow.start()
    tell(f"{seen}. Then: {scene.drain_and_count(flow)}")


def delete_records(scene: Scene, before: int) -> None:
    parts = [TopicPartition(scene.topic("events"), number, before) for number in range(2)]
    for done in scene.admin.delete_records(parts).values():
        done.result()


def test_retention_overrun_while_stopped(scene: Scene, tell: Tell) -> None:
    flow = working(scene)
    flow.end(9)
    scene.platform.write(1_000)
    delete_records(scene, 400)
    flow.start()
    tell(last_words(flow, "messages were deleted before they were read", "EDDY_KAFKA__LOST_OFFSETS=earliest"))


def behind_retention(scene: Scene, **settings: str) -> FlowUnderTest:
    """Start a flow that is frozen until the log has lost what it reads next."""
    small = orjson.dumps({"queued.max.messages.kbytes": 1, "queued.min.messages": 1, "fetch.message.max.bytes": 1_000})
    flow = working(scene, EDDY_KAFKA__CONSUMER_OPTIONS=small.decode(), **settings)
    assert flow.process is not None
    flow.process.send_signal(19)  # SIGSTOP
    scene.platform.write(6_000)
    delete_records(scene, 2_500)
    flow.process.send_signal(18)
    return flow


def test_retention_overrun_while_running(scene: Scene, tell: Tell) -> None:
    flow = behind_retention(scene)
    tell(last_words(flow, "messages were deleted before they were read", "EDDY_KAFKA__LOST_OFFSETS=earliest"))


def test_retention_overrun_while_running_where_that_is_allowed(scene: Scene, tell: Tell) -> None:
    flow = behind_retention(scene, EDDY_KAFKA__LOST_OFFSETS="earliest")
    scene.platform.wait_for("recommendations", 1_000)
    time.sleep(5.0)
    assert flow.is_running, flow.log.read_text()
    assert flow.end(15) == 0
    lines = [line for line in flow.log.read_text().splitlines() if "deleted before they were read" in line]
    assert 1 <= len(lines) <= 2  # one a partition
    n = len(scene.platform.read("recommendations"))
    assert n < scene.platform.n_written
    tell(f"went on, with a warning a partition: {lines[0].partition(': ')[2]}")


def test_message_too_large_for_the_topic(scene: Scene, tell: Tell) -> None:
    resource = ConfigResource(
        ResourceType.TOPIC,
        scene.topic("recommendations"),
        incremental_configs=[ConfigEntry("max.message.bytes", "500", incremental_operation=AlterConfigOpType.SET)],
    )
    scene.admin.incremental_alter_configs([resource])[resource].result()
    catalog(scene, 30)
    flow = scene.flow()
    scene.platform.write(20)
    tell(last_words(flow, "max.message.bytes", scene.topic("recommendations")))


def test_letter_too_large_for_the_topic(scene: Scene, tell: Tell) -> None:
    resource = ConfigResource(
        ResourceType.TOPIC,
        scene.topic("dead-letters"),
        incremental_configs=[ConfigEntry("max.message.bytes", "20000", incremental_operation=AlterConfigOpType.SET)],
    )
    scene.admin.incremental_alter_configs([resource])[resource].result()
    flow = scene.flow()
    scene.platform.write(20)
    # The broker looks at what arrives, which is compressed: one byte again and again would not be large.
    scene.platform.write_raw(b"{" + os.urandom(30_000).hex().encode())
    tell(last_words(flow, "max.message.bytes", scene.topic("dead-letters")))


def catalog(scene: Scene, n: int) -> None:
    """Publish items for slates to be full."""
    writer = KafkaWriter(scene.client, scene.topic("catalog"))
    for number in range(n):
        writer.write(f"i-{number}", orjson.dumps({"item_id": f"i-{number}", "title": f"item {number}"}))
    writer.flush()
