"""What each flow needs of a cluster with access control, and no more."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflows.kafka import rights
from dataflows.run.edges import KafkaEdges
from dataflows.run.runtime import Health
from dataflows.run.settings import load
from dataflows.run.stopping import Stop
from dataflows.run.wiring import open_flow
from dataflows.topics import FLOWS


def test_all_that_a_flow_may_do_is_under_its_prefix_and_nothing_else_begins_so() -> None:
    for flow in rights.PROCESSES:
        for right in rights.needed(flow, "shop-"):
            assert right.name.startswith("shop-")
            # What is given for all names that begin alike is this flow's alone.
            assert not right.is_prefix or right.name == f"shop-{flow}-"


def test_no_flow_may_write_what_it_only_reads() -> None:
    for flow, topics in rights.PROCESSES.items():
        written = {right.name for right in rights.needed(flow) if right.kind == "topic" and "Write" in right.operations}
        assert written == set(topics.writes)


def test_a_right_is_written_as_the_command_that_gives_it() -> None:
    right = rights.Right("transactional-id", "shop-learn-", ("Describe", "Write"), is_prefix=True)
    assert rights.command(right, "User:learn", "broker:9092") == (
        "kafka-acls.sh --bootstrap-server broker:9092 --add --allow-principal 'User:learn' --operation Describe "
        "--operation Write --transactional-id 'shop-learn-' --resource-pattern-type prefixed"
    )


def test_each_flow_has_its_user_and_whoever_makes_topics_another() -> None:
    lines = list(rights.commands("", "User:eddy-{flow}", "broker:9092"))
    users = Counter(line.split("'")[1] for line in lines if not line.startswith("#"))
    assert set(users) == {
        "User:eddy-recommend",
        "User:eddy-learn",
        "User:eddy-evaluate",
        "User:eddy-serve",
        "User:eddy-follow",
        "User:eddy-topics",
    }


@pytest.mark.kafka
@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_touches_the_topics_that_are_declared_for_it(
    broker: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flow: str
) -> None:
    prefix = topics(1)
    experiments = tmp_path / "experiments.yaml"
    experiments.write_text(
        "experiments:\n  - name: a\n    analysis: {stop: true}\n    variants:\n"
        "      - {name: one, weight: 1, strategy: {}}\n      - {name: two, weight: 1, strategy: {}}\n"
    )
    monkeypatch.setenv("EDDY_EXPERIMENTS_FILE", str(experiments))
    monkeypatch.setenv("EDDY_KAFKA__BOOTSTRAP_SERVERS", broker)
    monkeypatch.setenv("EDDY_TOPICS__PREFIX", prefix)
    touched: set[str] = set()
    watched = KafkaEdges._watched

    def note(edges: KafkaEdges, topic: str) -> str:
        touched.add(topic)
        return watched(edges, topic)

    monkeypatch.setattr(KafkaEdges, "_watched", note)
    with open_flow(flow, load(), Stop(), Health()):
        assert touched == {*FLOWS[flow].reads, *FLOWS[flow].writes} - {"control"}
