"""The recommend flow's core in Quix Streams, as its user would write it: a way of `tests.benchmarks.e2e`.

One event at a time; the user comes packed out of the state store and goes packed back into it. Exactly once, with the
framework's own commit interval and changelog. It runs in an environment of its own (`quix_environment`) until it is
killed.
"""

import pickle
from pathlib import Path
from typing import Any

from quixstreams import Application, State

from dataflows.records import Record
from tests.benchmarks.core import Core


def main() -> None:
    """Answer what comes."""
    core = Core()
    app = Application(
        core.settings.kafka.bootstrap_servers,
        consumer_group=core.topic("quix"),
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        state_dir=Path(core.settings.recovery.folder),
        producer_extra_config={"compression.type": "lz4"},
        loglevel="WARNING",
    )
    events = app.topic(core.topic("events"), value_deserializer="bytes", key_deserializer="bytes")
    slates = app.topic(core.topic("recommendations"), value_serializer="bytes", key_serializer="bytes")

    def answer(value: bytes, key: bytes, timestamp: int, _headers: Any, state: State[str, bytes]) -> list[bytes]:
        packed = state.get_bytes("user")
        user = core.user(pickle.loads(packed) if packed else None)  # noqa: S301 - what this process wrote
        answered = core.answer([Record(0, 0, timestamp, key, value)], lambda _user_id: user)
        state.set_bytes("user", pickle.dumps(user.pack()))
        return [slate for _, slate in answered]

    frame = app.dataframe(events)
    frame = frame.apply(answer, stateful=True, expand=True, metadata=True)
    frame.to_topic(slates)
    app.run()


if __name__ == "__main__":
    main()
