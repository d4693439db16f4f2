"""`eddy models` over a broker, and a table that follows what it chooses."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.codecs import catalog_decoder, latest_row
from dataflows.following.tables import KafkaTables
from dataflows.kafka.writer import KafkaWriter
from dataflows.run.settings import EventSettings
from models.items import ItemTable
from models.names import FEATURES
from models.online.published import Published
from models.online.versions import rows_of
from models.rankers.checkpoint import SHIPPED, Checkpoint, weights_digest
from models.rankers.networks import new_network
from tests.models.sequence.builders import a_sequence_model

pytestmark = pytest.mark.kafka

NOW = 1_700_000_000_000
Eddy = Callable[..., Result]


@pytest.fixture
def prefix(topics: Callable[..., str]) -> str:
    return topics()


@pytest.fixture
def eddy(broker: str, prefix: str) -> Eddy:
    settings = {"EDDY_KAFKA__BOOTSTRAP_SERVERS": broker, "EDDY_TOPICS__PREFIX": prefix, "COLUMNS": "300"}
    return lambda *arguments: CliRunner().invoke(app, ["models", *arguments], env=settings)


def publish(broker: str, prefix: str, *numbers: int, kind: str = "linear") -> None:
    writer = KafkaWriter({"bootstrap.servers": broker}, f"{prefix}model-updates")
    for number in numbers:
        model = new_network(kind, len(FEATURES), number)
        evidence = {"pairwise_auc": 0.7, "replaced": 0.6, "n_slates": 640.0}
        checkpoint = Checkpoint(model, f"{kind}-{number}", weights_digest(model))
        for row in rows_of(
            kind, Published(checkpoint, number, is_rollback=False, learned_until=NOW, evidence=evidence)
        ):
            writer.write(row.key, row.value)
    writer.flush()


def serving(eddy: Eddy) -> dict[str, str]:
    rows = [line.split("│") for line in eddy("list").output.splitlines() if "│" in line]
    return {row[2].strip(): row[3].strip() for row in rows}


def test_versions_are_listed_promoted_rolled_back_and_released(eddy: Eddy, broker: str, prefix: str) -> None:
    assert "no ranker has been published yet" in eddy("list").output
    publish(broker, prefix, 1, 2, 3)
    assert serving(eddy) == {"linear-3": "yes", "linear-2": "", "linear-1": ""}
    assert "linear-1 serves" in eddy("promote", "linear", "linear-1").output
    publish(broker, prefix, 4)
    assert serving(eddy) == {"linear-4": "", "linear-3": "", "linear-2": "", "linear-1": "pinned"}
    eddy("release", "linear")
    assert serving(eddy)["linear-4"] == "yes"
    eddy("rollback", "linear")
    assert serving(eddy)["linear-3"] == "pinned"
    eddy("rollback", "linear")
    assert serving(eddy)["linear-2"] == "pinned"


def test_a_ranker_or_version_that_does_not_exist_is_refused_by_name(eddy: Eddy, broker: str, prefix: str) -> None:
    assert "none has been published" in str(eddy("rollback", "mlp").exception)
    publish(broker, prefix, 1)
    assert "there are linear" in str(eddy("rollback", "mlp").exception)
    assert "it has linear-1" in str(eddy("promote", "linear", "linear-9").exception)
    assert "nothing older than linear-1" in str(eddy("rollback", "linear").exception)
    assert "decides already" in str(eddy("release", "linear").exception)


def next_change(tables: KafkaTables) -> dict[str, str | None]:
    """Wait for it: a broker may show what was committed a moment later."""
    deadline = time.monotonic() + 60
    while not (changed := tables.take_versions()):
        assert time.monotonic() < deadline
        tables.refresh()
        time.sleep(0.01)
    return {name: checkpoint and checkpoint.version for name, checkpoint in changed}


def test_a_table_that_follows_has_each_change_of_version_once(eddy: Eddy, broker: str, prefix: str) -> None:
    publish(broker, prefix, 1, 2, kind="neumf")
    counts: Counter[str] = Counter()
    tables = KafkaTables(
        {"bootstrap.servers": broker},
        f"{prefix}model-updates",
        f"{prefix}catalog",
        f"{prefix}tables",
        catalog_decoder(EventSettings()),
        ItemTable(NOW),
        counts,
        latest_row(EventSettings()),
    )
    try:
        tables.load()
        assert next_change(tables) == {"neumf": "neumf-2"}
        assert tables.take_versions() == []
        eddy("promote", "neumf", "neumf-1")
        assert next_change(tables) == {"neumf": "neumf-1"}
    finally:
        tables.close()
    assert counts == {}


def test_a_sequence_model_is_published_and_taken_back(eddy: Eddy, tmp_path: Path) -> None:
    old, new = a_sequence_model(1), a_sequence_model(2)
    for model in (old, new):
        model.save(tmp_path / model.version)
    assert f"{old.version} serves" in eddy("publish", str(tmp_path / old.version)).output
    assert "is published already" in str(eddy("publish", str(tmp_path / old.version)).exception)
    assert f"{new.version} serves" in eddy("publish", str(tmp_path / new.version)).output
    assert serving(eddy) == {new.version: "yes", old.version: ""}
    assert "0.0390" in eddy("list").output
    eddy("rollback", "sequence")
    assert serving(eddy)[old.version] == "pinned"
    third = a_sequence_model(3)
    third.save(tmp_path / "third")
    assert f"{old.version} goes on serving" in eddy("publish", str(tmp_path / "third")).output
    assert "the newest one serves again" in eddy("release", "sequence").output
    assert serving(eddy)[third.version] == "yes"


def test_a_ranker_is_not_published_by_hand(eddy: Eddy) -> None:
    assert "rankers are published by `learn`" in str(eddy("publish", str(SHIPPED)).exception)
    assert "nowhere" in str(eddy("publish", "nowhere").exception)
