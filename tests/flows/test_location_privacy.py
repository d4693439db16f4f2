"""Where a user is decides on slates, and is kept nowhere: no state, no slate, no row, no log holds it."""

import logging
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from dataflows.run.infrastructure import RecoverySettings, TopicSettings
from dataflows.run.settings import LearnSettings, RankerSettings, Settings
from models.locations import location_of
from models.numeric.sphere import unit_vectors
from tests.flows.test_offline import run, same_collector  # noqa: F401  # the collector is left as it is here too

NOW = 1_700_000_000_000
WHERE = {"latitude": 52.516275, "longitude": 13.377704}
FLOWS = ("learn", "recommend", "evaluate")
RULES = [
    {"name": "out-of-reach", "kind": "filter", "where": {"distance_km": {"gt": {"item": "reach_km"}}}},
    {"name": "near", "kind": "boost", "by": 1.0, "half_km": 5},
]
EXPERIMENT = {"name": "page", "variants": [
    {"name": name, "weight": 1, "strategy": {"rules": RULES}} for name in ("one", "other")
]}  # fmt: skip


def write(folder: Path, topic: str, messages: list[dict[str, Any]]) -> None:
    (folder / f"{topic}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, messages)))


def installed(path: Path) -> Settings:
    """Users who act and ask at a place, whose slates go by it in all ways that there are."""
    topics, store = path / "topics", path / "store"
    topics.mkdir()
    acts = ("view", "click", "purchase", "rating", "dislike", "impression")
    write(topics, "events", [
        {"event_id": f"e-{n}", "user_id": f"u-{n % 4}", "item_id": f"i-{n % 9}", "event_type": acts[n % 6],
         "timestamp": NOW + 1_000 * n, "context": {"device": "tv", **WHERE}, "consent": n % 10 != 9}
        for n in range(200)
    ])  # fmt: skip
    write(topics, "requests", [
        {"request_id": f"r-{n}", "user_id": f"u-{n % 4}", "timestamp": NOW + 250_000 + n, "context": WHERE}
        for n in range(20)
    ])  # fmt: skip
    write(topics, "catalog", [
        {"item_id": f"i-{n}", "title": f"Lamp {n}",
         "location": {"latitude": 52.5, "longitude": 13 + n / 10, "reach_km": 15}}
        for n in range(12)
    ])  # fmt: skip
    return Settings(
        topics=TopicSettings(folder=topics),
        recovery=RecoverySettings(folder=store, epoch_interval_s=0, learn_epoch_interval_s=0, partitions=1),
        learn=LearnSettings(shards=2, min_users=1),
        ranker=RankerSettings(name="mlp", batch_size=4, publish_every=2),
        strategy={"rules": RULES, "sampled": 0.5, "ranker": "mlp"},
        placements={"home": {"strategy": {"rules": RULES}, "triggers": ["click"]}},
        experiments=[EXPERIMENT],
        log_level="debug",
    )  # fmt: skip


def traces() -> Iterator[bytes]:
    """Write the location in each way in which something could keep it: as sent or rounded, as text or as numbers."""
    sent, rounded = tuple(WHERE.values()), location_of(WHERE) or (0, 0)
    vector = unit_vectors(*np.array(rounded)).tolist()
    for number in (*sent, *rounded, *vector):
        yield from (repr(number).encode(), struct.pack("<d", number), struct.pack(">d", number))
    for numbers in (sent, rounded, vector):
        yield np.array(numbers, np.float32).tobytes()  # one alone has few bytes, and chance would find it


def kept(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Read all that was written: files of topics but for those of the platform, and each value of each store."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in {"events.jsonl", "requests.jsonl"}:
            yield str(path), path.read_bytes()
        if path.name.endswith(".sqlite3"):
            with sqlite3.connect(path) as file:
                for (table,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    for row in file.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - the store's own names
                        yield f"{path}, {table}", b"".join(v if isinstance(v, bytes) else str(v).encode() for v in row)


def test_a_users_location_is_in_no_state_no_slate_no_row_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    settings = installed(tmp_path)
    with caplog.at_level(logging.DEBUG):
        for flow in FLOWS:
            run(flow, settings)
    slates = (tmp_path / "topics" / "recommendations" / "00000.jsonl").read_bytes()
    assert b'"rule":"near"' in slates
    assert b"i-9" not in slates
    assert len(slates.splitlines()) > 100
    events = (tmp_path / "topics" / "events.jsonl").read_bytes()
    assert any(trace in events for trace in traces())
    looked_at = [*kept(tmp_path), ("log", caplog.text.encode())]
    assert {"sqlite3"} <= {name.split(",")[0].rpartition(".")[2] for name, _ in looked_at}
    found = [(place, trace) for place, data in looked_at for trace in traces() if trace in data]
    assert found == []
