"""Topics on a cluster: list them and make them. `kafka_check` says what is wrong with them."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exports without saying so
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from dataflows.errors import EddyError
from dataflows.kafka.tokens import TokenSource
from dataflows.topics import Topic

if TYPE_CHECKING:
    from concurrent.futures import Future

Option: TypeAlias = str | int | float | bool | TokenSource
Client: TypeAlias = Mapping[str, Option]
"""librdkafka options, and where tokens come from; they may hold secrets."""


class TopicError(EddyError):
    """A topic is missing, or the cluster would not make it."""


class OptionError(EddyError):
    """The client does not take an option."""


class UnreachableError(EddyError):
    """No broker of the cluster answered."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What became of one topic that was asked for."""

    topic: str
    outcome: Literal["created", "exists"]
    partitions: int


class Admin:
    """A librdkafka admin client that says why it cannot connect.

    Raises
    ------
    OptionError : the client does not know an option, or cannot use its value.
    """

    def __init__(self, client: Client) -> None:
        self._servers = client.get("bootstrap.servers", "")
        self._complaint: str | None = None
        # librdkafka would print its complaints; they are raised with the first call that fails.
        config: dict[str, Any] = {"log_level": 2, **client, "error_cb": self._remember}
        try:
            self.client = AdminClient(config)
        except KafkaException as error:
            raise OptionError(
                f"EDDY_KAFKA__OPTIONS, or a setting of TLS or SASL: {error.args[0].str()}. The options are librdkafka's"
            ) from None

    def _remember(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._complaint = error.str()

    def metadata(self, timeout_s: float) -> ClusterMetadata:
        """Return brokers and topics.

        No topic is asked for by name: on some clusters that would make it.

        Raises
        ------
        UnreachableError : no broker answered in time.
        """
        try:
            return self.client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            self.client.poll(0)
            raise UnreachableError(
                f"no Kafka broker answers at {self._servers}: {self._complaint or error.args[0].str()}. "
                "Check EDDY_KAFKA__BOOTSTRAP_SERVERS and the security settings, or run `eddy broker`"
            ) from error

    def sizes(self, timeout_s: float) -> dict[str, int]:
        """Return the number of partitions of each topic."""
        return {name: len(topic.partitions) for name, topic in self.metadata(timeout_s).topics.items()}

    def led(self, timeout_s: float) -> set[str]:
        """Return the topics that can be written and read: each partition has a leader."""
        return {
            name
            for name, topic in self.metadata(timeout_s).topics.items()
            if topic.error is None and all(part.leader >= 0 for part in topic.partitions.values())
        }

    def config(self, topic: str, timeout_s: float) -> dict[str, str]:
        """Return a topic's settings.

        Raises
        ------
        KafkaException : this client may not read them.
        """
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self.client.describe_configs([resource], request_timeout=timeout_s)[resource].result()
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}


def list_topics(client: Client, timeout_s: float = 10.0) -> dict[str, int]:
    """Return the number of partitions of each topic of the cluster, by name.

    Parameters
    ----------
    client : librdkafka options, with whatever TLS or SASL needs.

    Raises
    ------
    UnreachableError : no broker answered in time.
    """
    return dict(sorted(Admin(client).sizes(timeout_s).items()))


def partitions_of(client: Client, topic: str, timeout_s: float = 30.0) -> int:
    """Return the number of partitions of one topic.

    Raises
    ------
    TopicError : there is no such topic.
    UnreachableError : no broker answered in time.
    """
    sizes = Admin(client).sizes(timeout_s)
    if topic not in sizes:
        raise TopicError(f"topic {topic} does not exist: make it with `eddy topics create`")
    return sizes[topic]


def topic_id(client: Client, topic: str, timeout_s: float = 30.0) -> str | None:
    """Return what tells a topic from another one of its name, made after it was deleted; None where no one says."""
    admin = Admin(client).client
    try:
        found = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic].result()
    except KafkaException:
        return None
    return str(found.topic_id)


def create_topics(
    client: Client, topics: Iterable[Topic], partitions: int, replication: int = 1, timeout_s: float = 30.0
) -> list[Creation]:
    """Make the topics that are missing, and wait until they can be written.

    Parameters
    ----------
    partitions : of each topic that does not fix its own number.
    replication : copies of each partition.

    Returns
    -------
    One entry a topic, in the order given. One that exists is left as it is: `check_topics` says if it fits.

    Raises
    ------
    TopicError : the cluster refused a topic, or did not show it in time.
    UnreachableError : no broker answered in time.
    """
    admin, topics = Admin(client), list(topics)
    existing = admin.sizes(timeout_s)
    missing = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions or partitions,
            replication_factor=replication,
            config={"cleanup.policy": topic.cleanup, **topic.config},
        )
        for topic in topics
        if topic.name not in existing
    ]
    futures = admin.client.create_topics(missing, request_timeout=timeout_s) if missing else {}
    created = {name for name, future in futures.items() if _is_new(name, future)}
    _wait_until_led(admin, {topic.name for topic in topics}, timeout_s)
    sizes = admin.sizes(timeout_s)
    return [
        Creation(topic.name, "created" if topic.name in created else "exists", sizes[topic.name]) for topic in topics
    ]


def _is_new(name: str, future: "Future[Any]") -> bool:
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False  # someone else was quicker
        raise TopicError(f"the cluster would not make topic {name}: {error.args[0].str()}") from error
    return True


def _wait_until_led(admin: Admin, names: set[str], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while waiting := names - admin.led(timeout_s):
        if time.monotonic() > deadline:
            raise TopicError(f"no leader after {timeout_s:g} s: {', '.join(sorted(waiting))}")
        time.sleep(0.05)


def answers(client: Client, timeout_s: float = 1.0) -> bool:
    """Say whether a broker is there and leads its cluster."""
    try:
        return bool(Admin(client).metadata(timeout_s).brokers)
    except UnreachableError:
        return False


def forbid_topic_creation(client: Client, timeout_s: float = 10.0) -> None:
    """Keep a broker from making topics that someone only asked about, as most production clusters are set.

    Raises
    ------
    KafkaException : the broker does not take the setting while it runs.
    """
    setting = ConfigEntry("auto.create.topics.enable", "false", incremental_operation=AlterConfigOpType.SET)
    admin = Admin(client)
    for broker in admin.metadata(timeout_s).brokers:
        resource = ConfigResource(ResourceType.BROKER, str(broker), incremental_configs=[setting])
        admin.client.incremental_alter_configs([resource], request_timeout=timeout_s)[resource].result()
