"""What each process may do on a cluster with access control: no more than it needs, by names that carry the prefix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicCollection

from dataflows.errors import EddyError
from dataflows.kafka.admin import Admin, Client
from dataflows.topics import DOOR, FLOWS, FOLLOWER, MODEL_UPDATES

PROCESSES = {**FLOWS, "serve": DOOR, "follow": FOLLOWER}
"""By the last word of the command."""
_COMMANDS = {**{flow: f"eddy run {flow}" for flow in FLOWS}, "serve": "eddy serve", "follow": "eddy models follow"}
READ_BACK = ("recommendations", "assignments", "dead-letters", "erasure-receipts", "experiment-results")
"""What a flow that writes it also reads: a resumed writer looks for what it had written."""


@dataclass(frozen=True, slots=True)
class Right:
    """What may be done with one resource, or with all whose names begin alike."""

    kind: Literal["topic", "group", "transactional-id"]
    name: str
    operations: tuple[str, ...]
    """By the names of `kafka-acls.sh`."""
    is_prefix: bool = False

    def __str__(self) -> str:
        return f"{', '.join(self.operations)} on {self.kind} {self.name}{'*' if self.is_prefix else ''}"


class RightsError(EddyError):
    """The cluster does not say what this client may do."""


def needed(process: str, prefix: str = "") -> list[Right]:
    """Return what a flow needs, all of its processes together, or another process."""
    topics, is_flow = PROCESSES[process], process in FLOWS
    rights = []
    for name in sorted({*topics.reads, *topics.writes}):
        operations = ["Describe", "DescribeConfigs"]
        if name in topics.reads or (is_flow and name in READ_BACK and name in topics.writes):
            operations.append("Read")
        if name in topics.writes:
            operations.append("Write")
        rights.append(Right("topic", prefix + name, tuple(operations)))
    rights.append(Right("group", helper_group(process, prefix, ""), ("Read",), is_prefix=True))
    if is_flow:
        rights.append(Right("group", source_group(process, prefix), ("Read",)))
        rights.append(Right("transactional-id", f"{prefix}{process}-", ("Describe", "Write"), is_prefix=True))
    elif process == "follow":
        rights.append(Right("transactional-id", sole_writer(process, prefix), ("Describe", "Write")))
    elif process == "serve":
        rights += (Right("group", source_group(flow, prefix), ("Describe",)) for flow in FLOWS)  # for their lag
    return rights


def needed_to_make_topics(prefix: str = "") -> list[Right]:
    """Return what `eddy topics create` needs, which no flow does."""
    names = sorted({name for topics in PROCESSES.values() for name in (*topics.reads, *topics.writes)})
    return [Right("topic", prefix + name, ("Create", "Describe", "DescribeConfigs")) for name in names]


def source_group(flow: str, prefix: str) -> str:
    """Name the group to which a flow commits its offsets, where lag tools find them."""
    return f"{prefix}eddy-{flow}"


def helper_group(flow: str, prefix: str, what: str) -> str:
    """Name the group of a consumer that a flow has beside its sources; it commits nothing."""
    return f"{prefix}{flow}-{what}"


def sole_writer(process: str, prefix: str) -> str:
    """Name the writer of which a process that may run once has one."""
    return f"{prefix}{process}-{MODEL_UPDATES.name}"


def command(right: Right, principal: str, servers: str) -> str:
    """Write the command that gives a right."""
    operations = " ".join(f"--operation {operation}" for operation in right.operations)
    pattern = " --resource-pattern-type prefixed" if right.is_prefix else ""
    return (
        f"kafka-acls.sh --bootstrap-server {servers} --add --allow-principal '{principal}' {operations} "
        f"--{right.kind} '{right.name}'{pattern}"
    )


def missing(client: Client, process: str, prefix: str, timeout_s: float = 10.0) -> list[Right]:
    """Return what a process needs and this client may not do; needs no right to look at rights.

    Raises
    ------
    UnreachableError : no broker answered in time.
    RightsError : the cluster does not say.
    """
    admin = Admin(client)
    admin.metadata(timeout_s)
    return [right for right in needed(process, prefix) if not _is_allowed(client, admin, right, timeout_s)]


def _is_allowed(client: Client, admin: Admin, right: Right, timeout_s: float) -> bool:
    if right.kind == "topic":
        return {_plain(operation) for operation in right.operations} <= _of_topic(admin, right.name, timeout_s)
    probe = f"{right.name}doctor" if right.is_prefix else right.name
    try:
        if right.kind == "group":
            list(admin.client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(probe)]).values())[0].result()  # noqa: RUF015
        else:
            # The one way to ask: it opens a writer of that name, which writes nothing.
            Producer({**client, "transactional.id": probe, "log_level": 2}).init_transactions(timeout_s)
    except KafkaException:
        return False
    return True


def _of_topic(admin: Admin, topic: str, timeout_s: float) -> set[str]:
    """Return the operations that this client may do on a topic; none where it may not even know of it."""
    asked = admin.client.describe_topics(
        TopicCollection([topic]), include_authorized_operations=True, request_timeout=timeout_s
    )
    try:
        said = asked[topic].result().authorized_operations
    except KafkaException:
        return set()
    if said is None:
        raise RightsError(f"the cluster does not say what this client may do on {topic}")
    return {_plain(operation.name) for operation in said}


def _plain(operation: str) -> str:
    return operation.replace("_", "").upper()


def commands(prefix: str, principal: str, servers: str, process: str | None = None) -> Iterator[str]:
    """Write the commands that give each process what it needs, and a maker of topics what that needs.

    Parameters
    ----------
    principal : who; `{flow}` in it stands for the flow's name, for `serve`, `follow` and `topics`.
    process : one alone; none: all, and `eddy topics create`.
    """
    for name in PROCESSES if process is None else [process]:
        yield f"# {_COMMANDS[name]}"
        yield from (command(right, principal.replace("{flow}", name), servers) for right in needed(name, prefix))
    if process is None:
        yield "# eddy topics create"
        for right in needed_to_make_topics(prefix):
            yield command(right, principal.replace("{flow}", "topics"), servers)
