"""`eddy models follow` over a broker: what it learns goes into service, whatever becomes of the process."""

import os
import re
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event, Thread
from urllib.request import urlopen

import orjson
import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.demo.broker_process import free_port
from dataflows.errors import FencedError
from dataflows.kafka.rights import sole_writer
from dataflows.kafka.sole_writer import SoleWriter
from dataflows.kafka.writer import KafkaWriter
from models.numeric.ids import hash64
from models.online.growing_model import SequenceAct
from tests.models.online.test_sequence_learner import NEW, circle
from tests.models.sequence.builders import LEARNED_UNTIL, a_sequence_model

pytestmark = pytest.mark.kafka

Eddy = Callable[..., Result]
Follow = Callable[..., Result]
AT_MOST_S = "240"


@pytest.fixture
def prefix(topics: Callable[..., str]) -> str:
    return topics()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def eddy(broker: str, prefix: str, port: int) -> Eddy:
    settings = {
        "EDDY_KAFKA__BOOTSTRAP_SERVERS": broker, "EDDY_TOPICS__PREFIX": prefix, "EDDY_HTTP__PORT": str(port),
        "COLUMNS": "300",
    }  # fmt: skip
    return lambda *arguments: CliRunner().invoke(app, ["models", *arguments], env=settings)


@pytest.fixture
def follow(eddy: Eddy, port: int) -> Follow:
    """Run it until its metrics are enough, however long that takes, and stop it as Kubernetes does."""

    def run(is_enough: Callable[[str], bool]) -> Result:
        ended = Event()

        def watch() -> None:
            while not ended.wait(0.2):
                if is_enough(metrics_of(port)):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

        before = signal.signal(signal.SIGTERM, lambda *_: None)  # should it have ended just now
        watching = Thread(target=watch)
        watching.start()
        try:
            return eddy("follow", "--every", "1", "--for", AT_MOST_S)
        finally:
            ended.set()
            watching.join()
            signal.signal(signal.SIGTERM, before)

    return run


def metrics_of(port: int) -> str:
    """Return what it tells Prometheus; nothing before it is ready."""
    said = ""
    try:
        for path in ("readyz", "metrics"):
            with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                said = answer.read().decode()
    except OSError:
        return ""
    return said


def has_read_all(metrics: str) -> bool:
    behind = re.findall(r"^eddy_lag\{.* (\S+)$", metrics, re.MULTILINE)
    return bool(behind) and not any(map(float, behind))


def serving(metrics: str) -> str:
    """Name the version that serves."""
    return "".join(re.findall(r'^eddy_ranker_info\{.*version="(.*?)"', metrics, re.MULTILINE))


def write(
    broker: str, topic: str, messages: dict[str, dict[str, object]] | list[tuple[str, dict[str, object]]]
) -> None:
    writer = KafkaWriter({"bootstrap.servers": broker}, topic)
    for key, message in messages.items() if isinstance(messages, dict) else messages:
        writer.write(key, orjson.dumps(message))
    writer.flush()


def events_of(acts: list[SequenceAct]) -> list[tuple[str, dict[str, object]]]:
    """Write acts as events, with names in the place of hashes."""
    items = {hash64(item.item_id): item.item_id for item in NEW}
    return [
        (
            f"u-{act.user}",
            {
                "event_id": f"e-{n}", "user_id": f"u-{act.user}", "item_id": items[act.item], "event_type": "click",
                "timestamp": act.at,
            },
        )
        for n, act in enumerate(acts)
    ]  # fmt: skip


def known(acts: list[SequenceAct]) -> list[SequenceAct]:
    """Let each of the users have acted when the model was trained, so that they have a say which one serves."""
    return [SequenceAct(user, hash64(NEW[0].item_id), LEARNED_UNTIL - 1) for user in {act.user for act in acts}] + acts


def published(eddy: Eddy) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in eddy("list").output.splitlines() if "│" in line
    ]


def test_without_a_model_in_service_it_says_how_to_get_one(eddy: Eddy) -> None:
    assert "eddy train --model sequence" in str(eddy("follow", "--for", "1").exception)


def test_what_it_has_learned_goes_into_service_and_the_next_process_goes_on_from_there(
    eddy: Eddy, follow: Follow, broker: str, prefix: str, tmp_path: Path
) -> None:
    start = a_sequence_model()
    start.save(tmp_path / "start")
    assert "serves" in eddy("publish", str(tmp_path / "start")).output
    write(broker, f"{prefix}catalog", {item.item_id: {"item_id": item.item_id} for item in NEW})
    write(broker, f"{prefix}events", events_of(known(circle(NEW, 4_000))))
    first = follow(lambda metrics: has_read_all(metrics) and serving(metrics) != start.version)
    assert first.exit_code == 0, first.output
    versions = published(eddy)
    assert len(versions) >= 2
    assert versions[0][2] == "yes"
    assert versions[0][3] == "better"
    assert float(versions[0][6]) > float(versions[0][7])
    # A person's choice is left alone, and what was learned is not learned again.
    eddy("promote", "sequence", versions[0][1])
    n_looks = count()
    again = follow(lambda metrics: has_read_all(metrics) and next(n_looks) > 10)
    assert f"going on from {versions[0][1]}" in again.output
    assert published(eddy)[0][1] == versions[0][1]


def test_nothing_is_learned_of_who_asked_to_be_forgotten_nor_of_bots(
    eddy: Eddy, follow: Follow, broker: str, prefix: str, tmp_path: Path
) -> None:
    start = a_sequence_model()
    start.save(tmp_path / "start")
    eddy("publish", str(tmp_path / "start"))
    acts = circle(NEW, 3_000, n_users=3)
    gone, bot = acts[0].user, next(act.user for act in acts if act.user != acts[0].user)
    write(
        broker,
        f"{prefix}erasures",
        {f"u-{gone}": {"erasure_id": "x", "user_id": f"u-{gone}", "requested_at": acts[-1].at + 1}},
    )
    many = [SequenceAct(bot, acts[0].item, acts[-1].at + n) for n in range(2_000)]
    write(broker, f"{prefix}events", events_of([*(act for act in acts if act.user == gone), *many]))
    n_looks = count()
    outcome = follow(lambda metrics: has_read_all(metrics) and next(n_looks) > 10)
    assert outcome.exit_code == 0, outcome.output
    n_gone = sum(act.user == gone for act in acts)
    assert f"{n_gone:,} before_erasure" in outcome.output
    n_learned = int(outcome.output.rsplit("learned ", 1)[1].split()[0].replace(",", ""))
    assert n_learned < len(many), "a bot teaches as much as a person can do"
    assert f"{len(many) - n_learned:,} bot" in outcome.output
    assert [row[1] for row in published(eddy)] == [start.version]


def test_a_second_process_takes_the_place_of_the_first_which_says_so(
    eddy: Eddy, follow: Follow, broker: str, prefix: str, tmp_path: Path
) -> None:
    start = a_sequence_model()
    start.save(tmp_path / "start")
    eddy("publish", str(tmp_path / "start"))
    acts = known(circle(NEW, 4_000))
    n_known = len(acts) - 4_000
    events = events_of(acts)
    write(broker, f"{prefix}events", events[:n_known])
    second: list[SoleWriter] = []

    def begin_another(metrics: str) -> bool:
        """Take its place once it is ready, and only then give it something to learn."""
        if metrics and not second:
            client = {"bootstrap.servers": broker}
            second.append(SoleWriter(client, f"{prefix}model-updates", sole_writer("follow", prefix), "another"))
            write(broker, f"{prefix}events", events[n_known:])
        return False

    outcome = follow(begin_another)
    assert isinstance(outcome.exception, FencedError)
    assert "Another `eddy models follow` has started" in str(outcome.exception)
    assert [row[1] for row in published(eddy)] == [start.version]


def test_it_tells_prometheus_how_far_it_is_and_how_well_it_does(
    eddy: Eddy, follow: Follow, broker: str, prefix: str, tmp_path: Path
) -> None:
    a_sequence_model().save(tmp_path / "start")
    eddy("publish", str(tmp_path / "start"))
    write(broker, f"{prefix}catalog", {item.item_id: {"item_id": item.item_id} for item in NEW})
    write(broker, f"{prefix}events", events_of(known(circle(NEW, 4_000))))
    said = [""]

    def has_decided(metrics: str) -> bool:
        said[0] = metrics
        return has_read_all(metrics) and "eddy_sequence_gain{" in metrics

    assert follow(has_decided).exit_code == 0
    [metrics] = said
    assert f'eddy_lag{{flow="follow",partition="0",topic="{prefix}events"}} 0.0' in metrics
    assert 'eddy_messages_total{flow="follow",outcome="learned"}' in metrics
    [named] = [line for line in metrics.splitlines() if line.startswith("eddy_ranker_info{")]
    assert 'ranker="sequence"' in named
    gains = {
        line.split('model="')[1].split('"')[0] for line in metrics.splitlines() if line.startswith("eddy_sequence")
    }
    assert gains == {"learning", "service"}
