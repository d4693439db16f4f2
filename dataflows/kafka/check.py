"""What is wrong with a cluster's topics, and how to fix it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaException

from dataflows.kafka.admin import Admin, Client, UnreachableError
from dataflows.topics import Topic

AT_LEAST = ("retention.ms", "min.compaction.lag.ms")
AT_MOST = ("max.compaction.lag.ms",)
FOREVER = -1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a cluster or a topic on it."""

    topic: str | None
    """None: the cluster as a whole."""
    severity: Literal["error", "warning"]
    """An `error` stops a flow or loses data; a `warning` can wait."""
    text: str
    """What is wrong, and how to fix it."""


def check_topics(client: Client, topics: Iterable[Topic], partitions: int, timeout_s: float = 10.0) -> list[Problem]:
    """Say what is wrong with a cluster's topics, and how to fix it; an empty list is a clean bill.

    Parameters
    ----------
    partitions : the least that each topic should have; more processes than partitions stand idle.
    """
    admin = Admin(client)
    try:
        sizes = admin.sizes(timeout_s)
    except UnreachableError as error:
        return [Problem(None, "error", str(error))]
    problems: list[Problem] = []
    for topic in topics:
        if topic.name not in sizes:
            problems.append(
                Problem(
                    topic.name,
                    "error",
                    f"{topic.name} is missing: run `eddy topics create`, or give this client the rights that "
                    "`eddy doctor --acls` prints, without which it may not know of the topic",
                )
            )
        else:
            problems += _size_problems(topic, sizes[topic.name], partitions)
            problems += _config_problems(topic, admin, timeout_s)
    return problems


def whose_times(client: Client, topic: str, timeout_s: float = 10.0) -> str | None:
    """Say whose clock a topic's records are dated by, and what follows; None where the cluster does not tell."""
    try:
        kind = Admin(client).config(topic, timeout_s).get("message.timestamp.type")
    except KafkaException:
        return None
    if kind == "CreateTime":
        return (
            f"{topic} has message.timestamp.type=CreateTime: records are dated by their producers' clocks, and the "
            "latency of slates is measured from those. What is ahead of the flows' own clock is refused anyway. "
            "LogAppendTime has the broker date them"
        )
    return None if kind is None else f"{topic} has message.timestamp.type={kind}: the broker dates its records"


def _size_problems(topic: Topic, found: int, partitions: int) -> Iterator[Problem]:
    if topic.partitions is not None and found != topic.partitions:
        yield Problem(
            topic.name,
            "error",
            f"{topic.name} has {found} partitions and must have {topic.partitions}: "
            "stop the flows, delete the topic and run `eddy topics create`",
        )
    elif topic.partitions is None and found < partitions:
        yield Problem(
            topic.name,
            "warning",
            f"{topic.name} has {found} of {partitions} partitions, and no more processes can share it. "
            f"Lower EDDY_TOPICS__PARTITIONS to {found}, or delete the topic and make it again: partitions that are "
            "added later move keys away from their history",
        )


def _config_problems(topic: Topic, admin: Admin, timeout_s: float) -> Iterator[Problem]:
    try:
        found = admin.config(topic.name, timeout_s)
    except KafkaException as error:
        yield Problem(
            topic.name,
            "warning",
            f"the settings of {topic.name} could not be read ({error.args[0].str()}): compare them with "
            f"cleanup.policy={topic.cleanup} by hand, or allow this client DescribeConfigs on the topic",
        )
        return
    policy = found.get("cleanup.policy", topic.cleanup)
    if set(policy.split(",")) != set(topic.cleanup.split(",")):
        yield Problem(topic.name, "error", _remedy(topic, "cleanup.policy", policy, topic.cleanup))
    for name, wanted in topic.config.items():
        if name in found and not _fits(name, found[name], wanted):
            yield Problem(topic.name, "warning", _remedy(topic, name, found[name], wanted))


def outliving(client: Client, erasures: str, others: Iterable[str], timeout_s: float = 10.0) -> list[Problem]:
    """Say which topics keep what people did for longer than `erasures` is kept: a lost store would bring them back.

    Parameters
    ----------
    erasures, others : names of topics; those that cannot be read are left out, `check_topics` names them.
    """
    admin = Admin(client)

    def kept_ms(topic: str) -> float:
        try:
            kept = int(admin.config(topic, timeout_s).get("retention.ms", FOREVER))
        except (KafkaException, UnreachableError):
            return 0
        return float("inf") if kept == FOREVER else kept

    held_ms = kept_ms(erasures)
    return [
        Problem(
            topic,
            "warning",
            f"{topic} is kept for longer than {erasures}, and a store lost after that would bring erased users "
            f"back: kafka-configs.sh --alter --entity-type topics --entity-name {erasures} "
            "--add-config retention.ms=-1",
        )
        for topic in others
        if held_ms and kept_ms(topic) > held_ms
    ]


def _fits(name: str, found: str, wanted: str) -> bool:
    if name in AT_LEAST:
        return int(found) == FOREVER or int(found) >= int(wanted)
    return name not in AT_MOST or int(found) <= int(wanted)


def _remedy(topic: Topic, name: str, found: str, wanted: str) -> str:
    value = f"[{wanted}]" if "," in wanted else wanted
    return (
        f"{topic.name} has {name}={found} instead of {wanted}: kafka-configs.sh --alter --entity-type topics "
        f"--entity-name {topic.name} --add-config {name}={value}"
    )
