"""`eddy models follow` over a broker: what it learns goes into service, whatever becomes of the process."""

from collections.abc import Callable
from pathlib import Path
from threading import Timer
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
    eddy: Eddy, broker: str, prefix: str, tmp_path: Path
) -> None:
    start = a_sequence_model()
    start.save(tmp_path / "start")
    assert "serves" in eddy("publish", str(tmp_path / "start")).output
    write(broker, f"{prefix}catalog", {item.item_id: {"item_id": item.item_id} for item in NEW})
    acts = circle(NEW, 6_000)
    write(broker, f"{prefix}events", events_of(known(acts[:4_000])))
    first = eddy("follow", "--every", "1", "--for", "20")
    assert first.exit_code == 0, first.output
    versions = published(eddy)
    assert len(versions) >= 2
    assert versions[0][2] == "yes"
    assert versions[0][3] == "better"
    assert float(versions[0][6]) > float(versions[0][7])
    # A person's choice is left alone, and what was learned is not learned again.
    eddy("promote", "sequence", versions[0][1])
    again = eddy("follow", "--every", "1", "--for", "8")
    assert f"going on from {versions[0][1]}" in again.output
    assert published(eddy)[0][1] == versions[0][1]


def test_nothing_is_learned_of_who_asked_to_be_forgotten_nor_of_bots(
    eddy: Eddy, broker: str, prefix: str, tmp_path: Path
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
    outcome = eddy("follow", "--every", "1", "--for", "8")
    assert outcome.exit_code == 0, outcome.output
    n_gone = sum(act.user == gone for act in acts)
    assert f"{n_gone:,} before_erasure" in outcome.output
    n_learned = int(outcome.output.rsplit("learned ", 1)[1].split()[0].replace(",", ""))
    assert n_learned < len(many), "a bot teaches as much as a person can do"
    assert f"{len(many) - n_learned:,} bot" in outcome.output
    assert [row[1] for row in published(eddy)] == [start.version]


def test_a_second_process_takes_the_place_of_the_first_which_says_so(
    eddy: Eddy, broker: str, prefix: str, tmp_path: Path
) -> None:
    start = a_sequence_model()
    start.save(tmp_path / "start")
    eddy("publish", str(tmp_path / "start"))
    write(broker, f"{prefix}events", events_of(known(circle(NEW, 4_000))))
    opened: list[SoleWriter] = []

    def open_another() -> None:
        client = {"bootstrap.servers": broker}
        opened.append(SoleWriter(client, f"{prefix}model-updates", sole_writer("follow", prefix), "another"))

    another = Timer(3.0, open_another)
    another.start()
    outcome = eddy("follow", "--every", "8", "--for", "60")
    another.join()
    assert isinstance(outcome.exception, FencedError)
    assert "Another `eddy models follow` has started" in str(outcome.exception)
    assert [row[1] for row in published(eddy)] == [start.version]


def test_it_tells_prometheus_how_far_it_is_and_how_well_it_does(
    eddy: Eddy, broker: str, prefix: str, port: int, tmp_path: Path
) -> None:
    a_sequence_model().save(tmp_path / "start")
    eddy("publish", str(tmp_path / "start"))
    write(broker, f"{prefix}catalog", {item.item_id: {"item_id": item.item_id} for item in NEW})
    write(broker, f"{prefix}events", events_of(known(circle(NEW, 4_000))))
    said: list[str] = []

    def ask() -> None:
        for path in ("readyz", "metrics"):
            with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                said.append(answer.read().decode())

    asking = Timer(10.0, ask)
    asking.start()
    assert eddy("follow", "--every", "1", "--for", "15").exit_code == 0
    asking.join()
    ready, metrics = said
    assert ready == "OK"
    assert f'eddy_lag{{flow="follow",partition="0",topic="{prefix}events"}} 0.0' in metrics
    assert 'eddy_messages_total{flow="follow",outcome="learned"}' in metrics
    [serving] = [line for line in metrics.splitlines() if line.startswith("eddy_ranker_info{")]
    assert 'ranker="sequence"' in serving
    gains = {
        line.split('model="')[1].split('"')[0] for line in metrics.splitlines() if line.startswith("eddy_sequence")
    }
    assert gains == {"learning", "service"}
