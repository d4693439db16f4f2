"""A broker for demos and tests: a given cluster, Apache Kafka from its jars, or the embedded one."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflows.demo import pacer
from dataflows.demo.broker_process import LOG_TAIL, Broker, BrokerProcess, NoBrokerError, free_port
from dataflows.kafka.admin import forbid_topic_creation

HELP = (
    "Set EDDY_KAFKA__BOOTSTRAP_SERVERS to use a cluster, set KAFKA_HOME to a folder whose libs/ holds the "
    "jars of Apache Kafka, or work on file topics with EDDY_TOPICS__FOLDER"
)
# One node makes one cluster, so that its id may be the same everywhere.
CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
"""

LOG4J_PROPERTIES = """\
status=error
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.target=SYSTEM_ERR
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1}: %m%n
"""


class EmbeddedBroker(BrokerProcess):
    """The small broker that the `demo` extra brings.

    It keeps everything in memory and saves it about once a second: `kill` loses what it acknowledged since.
    Retention is applied at once, by the records' own timestamps.
    """

    kind = "embedded"
    description = "the embedded broker (noida-db)"

    def commands(self) -> list[list[str]]:
        """Find the binary in its package, whose own launcher would not pass signals on; pace who asks it."""
        package = importlib.util.find_spec("noida_db")
        binary = Path(package.origin or "").with_name("noida-db") if package else None
        if binary is None or not binary.is_file():
            raise NoBrokerError(
                "the embedded broker is not installed: `pip install 'eddy-recs[demo]'` brings it, but it has "
                f"no build for Linux on arm64 (this is {platform.system()} {platform.machine()}). {HELP}"
            )
        if not os.access(binary, os.X_OK):
            binary.chmod(0o755)
        data, inner_port = str(self.folder / "data"), str(free_port())
        return [
            [sys.executable, "-I", "-S", pacer.__file__, str(self.port), inner_port],
            [str(binary), "start", "--only", "kafka", "--kafka-port", inner_port, "--data-dir", data],
        ]

    def start(self) -> None:
        """Start it, as strict about unknown topics as a production cluster."""
        super().start()
        forbid_topic_creation(self._client())


class KraftBroker(BrokerProcess):
    """Apache Kafka, one node in KRaft mode, run from its jars by the machine's Java.

    Parameters
    ----------
    kafka_home : the folder whose `libs/` holds the jars, as in Kafka's own distribution.
    java : the Java to run them with, 17 or newer.
    properties : more of the node's settings, which go before those above: listeners with TLS, an authorizer.
    """

    kind = "kafka"

    def __init__(
        self,
        kafka_home: Path,
        folder: Path | None = None,
        port: int | None = None,
        java: str = "java",
        properties: str = "",
    ) -> None:
        super().__init__(folder, port)
        self._libs = kafka_home.resolve() / "libs"
        self._java = java
        self._properties = properties
        self._controller_port = free_port()
        self.description = f"Apache Kafka from {kafka_home} (one node, KRaft)"

    def commands(self) -> list[list[str]]:
        """Write the node's settings and format its storage where that is new."""
        if not any(self._libs.glob("kafka*.jar")):
            raise NoBrokerError(f"KAFKA_HOME: {self._libs} holds no Kafka jars. {HELP}")
        java = shutil.which(self._java)
        if java is None:
            raise NoBrokerError(f"Apache Kafka needs Java 17 or newer, and `{self._java}` was not found. {HELP}")
        settings, logging = self.folder / "server.properties", self.folder / "log4j2.properties"
        data = self.folder / "data"
        settings.write_text(
            SERVER_PROPERTIES.format(port=self.port, controller_port=self._controller_port, log_dir=data.as_posix())
            + self._properties
        )
        logging.write_text(LOG4J_PROPERTIES)
        run = [
            java,
            "-Xms256m",
            "-Xmx512m",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            f"{self._libs}/*",
        ]
        if not (data / "meta.properties").exists():
            self._format([*run, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings)])
        return [[*run, "kafka.Kafka", str(settings)]]

    def _format(self, command: list[str]) -> None:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise NoBrokerError(
                f"{self.description} could not format its storage:\n{(done.stdout + done.stderr)[-LOG_TAIL:]}"
            )


@contextmanager
def running(process: BrokerProcess) -> Iterator[BrokerProcess]:
    """Start a broker, and leave nothing of it running."""
    try:
        process.start()
        yield process
    finally:
        process.close()


@contextmanager
def choose_broker(
    bootstrap_servers: str | None, kafka_home: str | None, folder: Path | None = None
) -> Iterator[Broker]:
    """Give the cluster that is named, else run Apache Kafka where its jars are, else the embedded broker.

    Parameters
    ----------
    bootstrap_servers : a cluster that runs already; it is neither started nor stopped nor asked.
    kafka_home : the folder whose `libs/` holds Apache Kafka's jars.
    folder : where a broker that is started here keeps its data; none: a temporary folder.

    Raises
    ------
    NoBrokerError : none of the three is there, or it did not start; the text says what to do.
    """
    if bootstrap_servers:
        yield Broker(bootstrap_servers, "cluster", f"the cluster at {bootstrap_servers}")
        return
    with running(KraftBroker(Path(kafka_home), folder) if kafka_home else EmbeddedBroker(folder)) as process:
        yield process.broker
