from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.kafka.admin import list_topics
from dataflows.topics import TOPICS

pytestmark = pytest.mark.kafka

Eddy = Callable[..., Result]


@pytest.fixture
def prefix(fresh_prefix: Callable[[], str]) -> str:
    return fresh_prefix()


@pytest.fixture
def eddy(broker: str, prefix: str) -> Eddy:
    settings = {
        "EDDY_KAFKA__BOOTSTRAP_SERVERS": broker,
        "EDDY_TOPICS__PREFIX": prefix,
        "EDDY_TOPICS__PARTITIONS": "2",
        "COLUMNS": "300",
    }
    return lambda *arguments: CliRunner().invoke(app, arguments, env=settings)


def test_create_makes_all_topics_once(eddy: Eddy, broker: str, prefix: str) -> None:
    first, second = eddy("topics", "create"), eddy("topics", "create", "--partitions", "3")
    assert [line.split()[0] for line in first.output.splitlines()] == ["created"] * len(TOPICS)
    assert [line.split()[0] for line in second.output.splitlines()] == ["exists"] * len(TOPICS)
    sizes = list_topics({"bootstrap.servers": broker})
    assert {topic.name: sizes[prefix + topic.name] for topic in TOPICS} == {
        topic.name: topic.partitions or 2 for topic in TOPICS
    }


def test_partitions_on_the_command_line_go_before_the_setting(eddy: Eddy, broker: str, prefix: str) -> None:
    eddy("topics", "create", "--partitions", "3")
    assert list_topics({"bootstrap.servers": broker})[f"{prefix}events"] == 3


def test_list_shows_what_is_missing_and_what_is_there(eddy: Eddy, prefix: str) -> None:
    def cells() -> list[str]:
        lines = eddy("topics", "list").output.splitlines()
        return next(line.split() for line in lines if line.startswith(f"{prefix}events "))

    assert cells()[:3] == [f"{prefix}events", "missing", "Event"]
    eddy("topics", "create")
    assert cells()[:3] == [f"{prefix}events", "2", "Event"]


def test_list_shows_other_topics_only_when_asked(eddy: Eddy, topics: Callable[..., str]) -> None:
    other = topics()
    assert f"{other}events" not in eddy("topics", "list").output
    assert f"{other}events" in eddy("topics", "list", "--all").output


def test_check_names_the_command_that_makes_topics_and_then_finds_nothing_wrong(eddy: Eddy) -> None:
    before = eddy("topics", "check")
    assert before.exit_code == 1
    assert before.output.count("run `eddy topics create`") == len(TOPICS)
    eddy("topics", "create")
    after = eddy("topics", "check")
    assert (after.exit_code, after.output) == (0, f"all {len(TOPICS)} topics are as they should be\n")


def test_check_exits_0_where_there_are_only_warnings(eddy: Eddy) -> None:
    eddy("topics", "create")
    result = eddy("topics", "check", "--partitions", "3")
    assert result.exit_code == 0
    assert "warning: " in result.output


def test_doctor_finds_broker_and_topics_in_order(eddy: Eddy) -> None:
    eddy("topics", "create")
    lines = eddy("doctor").output.splitlines()
    states = {line.split()[1]: line.split()[0] for line in lines if line.strip()}
    assert (states["broker"], states["topics"]) == ("ok", "ok")
