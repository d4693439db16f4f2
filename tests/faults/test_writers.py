"""A writer whose place somebody takes."""

from collections.abc import Callable

from confluent_kafka import Producer

from tests.faults.scene import Scene, last_words

Tell = Callable[[str], None]


def test_transactional_id_fenced_by_an_operator(scene: Scene, tell: Tell) -> None:
    flow = scene.flow()
    scene.platform.write(100)
    scene.platform.wait_for("recommendations", 100)
    for number in range(2):
        name = f"{scene.prefix}recommend-{scene.topic('recommendations')}-{number}"
        Producer(scene.client | {"transactional.id": name}).init_transactions(30)
    scene.platform.write(100)
    seen = last_words(flow, "fenced")
    flow.start()
    tell(f"{seen}. Started again: {scene.drain_and_count(flow)}")
