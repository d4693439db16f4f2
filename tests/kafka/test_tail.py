"""`eddy tail` on a real topic."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from dataflows.cli.main import app
from dataflows.codecs import encode
from dataflows.kafka.writer import KafkaWriter
from models.messages import Event

pytestmark = pytest.mark.kafka


def test_a_users_messages_are_told_and_no_others(broker: str, topics: Callable[..., str]) -> None:
    prefix = topics(1)
    writer = KafkaWriter({"bootstrap.servers": broker}, f"{prefix}events")
    for number, user in enumerate(["u-6", "u-7", "u-6"]):
        writer.write(user, encode(Event(f"e-{number}", user, f"i-{number}", "click", 1_700_000_000_000)))
    writer.flush()
    settings = {"EDDY_KAFKA__BOOTSTRAP_SERVERS": broker, "EDDY_TOPICS__PREFIX": prefix, "COLUMNS": "300"}
    told = CliRunner().invoke(app, ["tail", "events", "--user", "u-7", "--from-beginning", "-n", "1"], env=settings)
    assert told.exit_code == 0, told.output
    assert "u-7" in told.output
    assert "click i-1" in told.output
    assert "u-6" not in told.output
