"""Brokers for the Kafka tests: a given cluster, Apache Kafka by KAFKA_HOME, or the embedded broker."""

import gc
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from dataflows.demo.broker import EmbeddedBroker, KraftBroker, choose_broker, running
from dataflows.demo.broker_process import Broker, BrokerProcess, NoBrokerError
from dataflows.kafka.admin import create_topics
from dataflows.topics import declare

SERVERS = os.environ.get("EDDY_KAFKA__BOOTSTRAP_SERVERS")
KAFKA_HOME = os.environ.get("KAFKA_HOME")

used: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # At the end, since a header is printed before this file is loaded, and not at all with -q.
    for description in used:
        terminalreporter.write_line(f"Kafka tests ran on {description}")


@pytest.fixture(scope="session")
def chosen_broker() -> Iterator[Broker]:
    """Start the broker of this run once."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(choose_broker(SERVERS, KAFKA_HOME))
        except NoBrokerError as error:
            if KAFKA_HOME:
                raise
            pytest.skip(str(error))
        used.append(broker.description)
        yield broker
        gc.collect()  # clients that nobody closed would complain of its end


@pytest.fixture(scope="session")
def broker(chosen_broker: Broker) -> str:
    """Bootstrap servers of this run's broker."""
    return chosen_broker.bootstrap_servers


@pytest.fixture
def fresh_prefix(broker: str) -> Iterator[Callable[[], str]]:
    """Give topic prefixes that no one else has; their topics are removed after the test."""
    prefixes: list[str] = []

    def give() -> str:
        prefixes.append(f"test-{uuid.uuid4().hex[:12]}-")
        return prefixes[-1]

    yield give
    admin = AdminClient({"bootstrap.servers": broker})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(tuple(prefixes))]
    for done in admin.delete_topics(names).values() if names else ():
        done.result()


@pytest.fixture
def topics(broker: str, fresh_prefix: Callable[[], str]) -> Callable[..., str]:
    """Make all topics under a fresh prefix, which is returned."""

    def make(partitions: int = 2) -> str:
        prefix = fresh_prefix()
        create_topics({"bootstrap.servers": broker}, declare(prefix), partitions)
        return prefix

    return make


@pytest.fixture
def own_broker() -> Iterator[Callable[..., BrokerProcess]]:
    """Start brokers of a test's own, which it may stop, kill and start again."""
    if SERVERS:
        pytest.skip("a cluster that others may use is neither stopped nor killed")
    with ExitStack() as stack:

        def start(folder: Path | None = None) -> BrokerProcess:
            process = KraftBroker(Path(KAFKA_HOME), folder) if KAFKA_HOME else EmbeddedBroker(folder)
            try:
                return stack.enter_context(running(process))
            except NoBrokerError as error:
                if KAFKA_HOME:
                    raise
                pytest.skip(str(error))

        yield start
