"""The flows as plain Bytewax workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from bytewax.recovery import init_db_dir

from dataflows.demo.broker_process import free_port
from tests.kafka.flows import DEADLINE_S, Platform

pytestmark = pytest.mark.kafka


@contextmanager
def plain_worker(flow: str, log: Path, *flags: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "bytewax.run", f"dataflows.run.worker:{flow}()", *flags]
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            opener.open(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.mark.parametrize(("flow", "topic"), [("recommend", "recommendations"), ("learn", "model-updates")])
def test_a_plain_worker_answers_probes_drains_on_sigterm_and_exits_0(
    broker: str, topics: Callable[..., str], tmp_path: Path, flow: str, topic: str
) -> None:
    prefix, port, log = topics(1), free_port(), tmp_path / "log"
    platform = Platform(broker, prefix)
    settings = {
        "EDDY_KAFKA__BOOTSTRAP_SERVERS": broker,
        "EDDY_TOPICS__PREFIX": prefix,
        "EDDY_HTTP__PORT": str(port),
    }
    store = tmp_path / "store"
    store.mkdir()
    init_db_dir(store, 2)
    platform.write(50)
    with plain_worker(flow, log, "-r", str(store), "-s", "1", "-b", "0", **settings) as process:
        wait_until_ready(process, port, log)
        platform.wait_for(topic, 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0, log.read_text()


@pytest.mark.slow
def test_plain_workers_of_one_cluster_stop_together(broker: str, topics: Callable[..., str], tmp_path: Path) -> None:
    prefix = topics(2)
    platform = Platform(broker, prefix)
    addresses = f"127.0.0.1:{free_port()};127.0.0.1:{free_port()}"
    settings = {"EDDY_KAFKA__BOOTSTRAP_SERVERS": broker, "EDDY_TOPICS__PREFIX": prefix, "EDDY_HTTP__PORT": "0"}
    logs = [tmp_path / "first", tmp_path / "second"]
    with (
        plain_worker("recommend", logs[0], "-a", addresses, "-i", "0", **settings) as first,
        plain_worker("recommend", logs[1], "-a", addresses, "-i", "1", **settings) as second,
    ):
        platform.write(50)
        platform.wait_for("recommendations", 50)
        second.send_signal(signal.SIGTERM)
        codes = [process.wait(DEADLINE_S) for process in (first, second)]
    assert codes == [0, 0], [log.read_text() for log in logs]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "settings", "fault"),
    [
        ((), {"EDDY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "no Kafka broker answers"),
        (("-w", "2"), {}, "scale with processes"),
    ],
)
def test_a_plain_worker_that_cannot_start_says_why_without_a_traceback(
    tmp_path: Path, flags: tuple[str, ...], settings: dict[str, str], fault: str
) -> None:
    log = tmp_path / "log"
    with plain_worker("learn", log, *flags, EDDY_HTTP__PORT="0", **settings) as process:
        assert process.wait(DEADLINE_S) == 1
    text = log.read_text()
    assert fault in text
    assert "Traceback" not in text
