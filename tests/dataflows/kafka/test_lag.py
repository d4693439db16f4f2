"""What a source says of how far it is behind, while its client comes and goes."""

from typing import Any

import pytest
from confluent_kafka import TopicPartition

from dataflows.kafka.shared_consumer import Inbox, SharedConsumer


class AClient:
    """Knows the end of some partitions; a closed one raises, as librdkafka's does."""

    def __init__(self, *ends: int, closed: bool = False) -> None:
        self.ends = ends
        self.closed = closed

    def get_watermark_offsets(self, place: TopicPartition, cached: bool) -> tuple[int, int]:
        assert cached, "a scrape waits for no broker"
        if self.closed:
            raise RuntimeError("Consumer closed")
        return 0, self.ends[place.partition]


@pytest.mark.parametrize(
    ("client", "behind"),
    [
        (AClient(12, 7), {"0": 2.0, "1": 0.0}),
        (AClient(12, -1_001), {"0": 2.0}),
        (AClient(closed=True), {}),
        (None, {}),
    ],
)
def test_only_what_is_known_is_told(client: Any, behind: dict[str, float]):
    shared = SharedConsumer({}, "group")
    shared._consumer = client
    shared._inboxes = {("events", partition): Inbox(10) for partition in range(2)}
    assert {partition: n for (_, partition), n in shared.behind()} == behind
