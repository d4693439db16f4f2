import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from dataflows.demo import exit_with_parent
from dataflows.demo.broker import EmbeddedBroker, KraftBroker, choose_broker, running
from dataflows.demo.broker_process import BrokerProcess, NoBrokerError, free_port, is_free
from dataflows.kafka.admin import answers, create_topics, list_topics
from dataflows.topics import EVENTS

pytestmark = pytest.mark.kafka

StartBroker = Callable[..., BrokerProcess]

OWNER = """
import sys
from pathlib import Path
from dataflows.demo.broker_process import BrokerProcess
class Sleeper(BrokerProcess):
    kind, description = "embedded", "a server that never answers"
    def commands(self):
        code = "import socket, time; s = socket.create_server(('127.0.0.1', %d)); time.sleep(600)"
        return [[sys.executable, "-u", "-c", code % self.port]]
sleeper = Sleeper(Path(sys.argv[1]))
print(sleeper.port, flush=True)
sleeper.start()
"""


class Script(BrokerProcess):
    """A program in a broker's place."""

    kind = "embedded"
    description = "the script"
    code = "print('no space left'); raise SystemExit(3)"

    def commands(self) -> list[list[str]]:
        return [[sys.executable, "-c", self.code]]


def client(process: BrokerProcess) -> dict[str, str]:
    return {"bootstrap.servers": process.broker.bootstrap_servers}


def write(process: BrokerProcess, *values: bytes) -> None:
    producer = Producer(client(process))
    for value in values:
        producer.produce(EVENTS.name, value, partition=0)
    assert producer.flush(20) == 0


def read(process: BrokerProcess, n: int) -> list[bytes | None]:
    consumer = Consumer(client(process) | {"group.id": "reader"})
    consumer.assign([TopicPartition(EVENTS.name, 0, 0)])
    values = [message.value() for message in consumer.consume(n, 20)]
    consumer.close()
    return values


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_written_is_there_after_a_stop_and_a_start(own_broker: StartBroker, tmp_path: Path) -> None:
    process = own_broker(tmp_path / "broker")
    create_topics(client(process), [EVENTS], 1)
    write(process, b"before")
    servers = process.broker.bootstrap_servers
    process.stop()
    assert not answers(client(process))
    process.start()
    assert process.broker.bootstrap_servers == servers
    write(process, b"after")
    assert read(process, 2) == [b"before", b"after"]


def test_a_killed_broker_starts_again_where_it_was(own_broker: StartBroker) -> None:
    process = own_broker()
    process.kill()
    assert not answers(client(process))
    process.start()
    create_topics(client(process), [EVENTS], 1)
    write(process, b"x")
    assert read(process, 1) == [b"x"]


def test_a_broker_does_not_make_topics_that_someone_asks_about(own_broker: StartBroker) -> None:
    process = own_broker()
    producer = Producer(client(process))
    producer.list_topics("unheard-of", timeout=10)
    assert "unheard-of" not in list_topics(client(process))


def test_two_brokers_share_no_topics(own_broker: StartBroker) -> None:
    one, other = own_broker(), own_broker()
    create_topics(client(one), [EVENTS], 1)
    assert EVENTS.name not in list_topics(client(other))


def test_nothing_is_left_of_a_closed_broker(own_broker: StartBroker) -> None:
    process = own_broker()
    process.close()
    assert is_free(process.port)
    assert not process.folder.exists()


def test_a_folder_that_was_given_is_kept(own_broker: StartBroker, tmp_path: Path) -> None:
    own_broker(tmp_path / "broker").close()
    assert any((tmp_path / "broker").iterdir())


def test_a_cluster_that_is_named_is_used_as_it_is() -> None:
    with choose_broker("kafka-1:9092,kafka-2:9092", "kafka") as broker:
        assert (broker.bootstrap_servers, broker.kind) == ("kafka-1:9092,kafka-2:9092", "cluster")


def test_a_kafka_home_without_kafka_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(NoBrokerError, match=r"holds no Kafka jars.*EDDY_KAFKA__BOOTSTRAP_SERVERS"):
        choose_broker(None, str(tmp_path)).__enter__()


def test_kafka_without_java_says_so(tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.3.1.jar").touch()
    with (
        pytest.raises(NoBrokerError, match="`no-such-java` was not found"),
        running(KraftBroker(tmp_path, java="no-such-java")),
    ):
        pass


def test_where_the_embedded_broker_is_not_installed_the_other_ways_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NoBrokerError, match=r"KAFKA_HOME.*EDDY_TOPICS__FOLDER"):
        choose_broker(None, None).__enter__()


def test_a_broker_that_does_not_start_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(NoBrokerError, match=r"the script did not start(?s:.*)no space left"):
        Script(tmp_path).start()


def test_a_taken_port_is_named(own_broker: StartBroker, tmp_path: Path) -> None:
    port = own_broker().port
    with pytest.raises(NoBrokerError, match=f"port {port} is taken"):
        EmbeddedBroker(tmp_path, port).start()


def test_a_broker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        wait_until(lambda: not is_free(port))
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    wait_until(lambda: is_free(port))


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, exit_with_parent.__file__, "0.1", sys.executable, "-c", stubborn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as guarded:
        assert guarded.stdin is not None
        assert guarded.stdout is not None
        guarded.stdout.readline()
        guarded.stdin.close()
        assert guarded.stdout.read() == b""
        assert guarded.wait(30) != 0


def test_a_free_port_is_below_those_of_outgoing_connections() -> None:
    assert all(20_000 <= free_port() < 32_768 for _ in range(50))
