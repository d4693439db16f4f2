"""Apache Kafka for the faults, and a line on each: what was done, and what was seen."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflows.demo.broker import KraftBroker, running
from dataflows.demo.broker_process import BrokerProcess
from tests.faults.scene import Scene

KAFKA_HOME = os.environ.get("KAFKA_HOME")
seen: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for fault, what in seen.items():
        terminalreporter.write_line(f"{fault}: {what}")


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take what was seen of this test's fault."""

    def say(what: str) -> None:
        seen[request.node.name.removeprefix("test_").replace("_", " ")] = what

    return say


@pytest.fixture(scope="session")
def kafka_home() -> Path:
    if not KAFKA_HOME:
        pytest.skip("KAFKA_HOME names no folder with Apache Kafka, and the embedded broker knows none of these faults")
    return Path(KAFKA_HOME)


@pytest.fixture(scope="session")
def kafka(kafka_home: Path) -> Iterator[BrokerProcess]:
    """Run the broker of all faults but those that need another one."""
    # A broker that is slow to say that it lives is not thrown out of its own cluster, on a machine with much to do.
    with running(KraftBroker(kafka_home, properties="broker.session.timeout.ms=9000\n")) as process:
        yield process


@pytest.fixture
def scene(kafka: BrokerProcess, tmp_path: Path) -> Iterator[Scene]:
    """Give topics and a recovery folder of a test's own; what it starts is ended."""
    with Scene(kafka.broker.bootstrap_servers, tmp_path) as made:
        yield made
