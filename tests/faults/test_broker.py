"""A broker that is killed or away."""

import time
from collections.abc import Callable

from dataflows.demo.broker_process import BrokerProcess
from tests.faults.scene import Scene, last_words, steady_events
from tests.kafka.flows import DEADLINE_S

Tell = Callable[[str], None]


def test_broker_killed_and_started_again_mid_stream(kafka: BrokerProcess, scene: Scene, tell: Tell) -> None:
    flow = scene.flow()
    with steady_events(scene.platform):
        scene.platform.wait_for("recommendations", 100)
        for _ in range(3):
            kafka.kill()
            kafka.start()
            time.sleep(2.0)
    assert flow.is_running, flow.log.read_text()
    tell(f"3 kills: the flow went on by itself; {scene.drain_and_count(flow)}")


def test_broker_away_for_more_than_a_minute(kafka: BrokerProcess, scene: Scene, tell: Tell) -> None:
    flow = scene.flow()
    scene.platform.write(500)
    scene.platform.wait_for("recommendations", 200)
    kafka.kill()
    time.sleep(75.0)
    kafka.start()
    scene.platform.write(300)
    seen, deadline = "went on by itself", time.monotonic() + DEADLINE_S
    # A message that was written while the broker was away may still be given up after it has come back.
    while flow.is_running and scene.is_behind() and time.monotonic() < deadline:
        time.sleep(0.5)
    if not flow.is_running:
        seen = last_words(flow, "start again")
        flow.start()
    tell(f"{seen}; {scene.drain_and_count(flow)}")
