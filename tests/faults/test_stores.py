"""Disks and clocks that fail a flow, and peers that leave it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflows.demo.broker_process import free_port
from tests.faults.scene import Scene, last_words, steady_events
from tests.kafka.flows import FlowUnderTest

Tell = Callable[[str], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 3 MB."""
    folder = tmp_path / "recovery"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"only root can mount a small disk: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_disk_full(small_disk: Path, scene: Scene, tell: Tell) -> None:
    flow = scene.flow(EDDY_RECOVERY__PARTITIONS="2")
    with steady_events(scene.platform, 300.0):
        seen = last_words(flow, "full", "nothing is lost")
    subprocess.run(["mount", "-o", "remount,size=300m", small_disk], check=True)
    flow.start()
    tell(f"{seen}. With room again: {scene.drain_and_count(flow)}")


def test_disk_read_only(small_disk: Path, scene: Scene, tell: Tell) -> None:
    flow = scene.flow()
    scene.platform.write(50)
    scene.platform.wait_for("recommendations", 50)
    assert flow.end(signal.SIGTERM) == 0
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    log = flow.log
    flow.log = scene.folder / "log.txt"
    seen = last_words(flow.start(), "cannot be used", "read-only")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    flow.log = log
    scene.platform.write(50)
    flow.start()
    tell(f"{seen}. Writable again: {scene.drain_and_count(flow)}")


def test_store_overwritten(scene: Scene, tell: Tell) -> None:
    flow = scene.flow()
    scene.platform.write(200)
    scene.platform.wait_for("recommendations", 200)
    scene.wait_for_snapshot()
    flow.end(signal.SIGKILL)
    store = scene.store / "recommend"
    shutil.copytree(store, scene.folder / "backup")
    logs = [log for log in store.glob("*-wal") if log.stat().st_size]
    for log in logs:
        with log.open("r+b") as file:
            file.write(b"\xa5" * 32)
    flow.start()
    seen = last_words(flow, "is damaged", "Put back a backup")
    shutil.rmtree(store)
    shutil.copytree(scene.folder / "backup", store)
    scene.platform.write(100)
    flow.start()
    tell(f"{seen}. With the backup: {scene.drain_and_count(flow)}")


def test_a_process_of_a_cluster_lost(scene: Scene, tell: Tell) -> None:
    pair = a_pair(scene)
    scene.platform.write(100)
    scene.platform.wait_for("recommendations", 100)
    pair[1].end(signal.SIGKILL)
    seen = last_words(pair[0], "another process of this cluster is gone")
    scene.platform.write(100)
    tell(f"{seen}. As one process: {scene.drain_and_count(scene.flow())}")


def test_processes_of_a_cluster_set_otherwise(scene: Scene, tell: Tell) -> None:
    one, other = a_pair(scene, EDDY_STRATEGY__RANKER="mlp")
    scene.platform.write(50)
    seen = last_words(one, "EDDY_STRATEGY__RANKER", "same settings")
    last_words(other, "EDDY_STRATEGY__RANKER", "same settings")
    assert not scene.platform.read("recommendations")
    tell(seen)


def a_pair(scene: Scene, **settings_of_second: str) -> list[FlowUnderTest]:
    addresses = f"127.0.0.1:{free_port()};127.0.0.1:{free_port()}"
    return [
        scene.flow(
            store=scene.folder / "of-second" if number else None,
            EDDY_CLUSTER__ADDRESSES=addresses,
            EDDY_CLUSTER__PROCESS_ID=str(number),
            **settings,
        )
        for number, settings in enumerate(({}, settings_of_second))
    ]


CLOCK = """
import sys, time
from datetime import UTC, datetime, timedelta
import dataflows.run.wiring as wiring
started = time.monotonic()
def now():
    passed = time.monotonic() - started
    # An hour back after 20 seconds, a day ahead after 30, and right again after 40.
    off = 0 if passed < 20 else -3600 if passed < 30 else 86400 if passed < 40 else 0
    return datetime.now(UTC) + timedelta(seconds=off)
wiring.now = now
from dataflows.cli.main import main
sys.argv = ["eddy", "run", "recommend"]
main()
"""


def test_clock_set_back_and_ahead_while_running(scene: Scene, tell: Tell) -> None:
    """The flow's clock jumps; users' counts go on, which `count` holds: nobody was forgotten."""
    flow = scene.flow()
    scene.platform.write(100)
    scene.platform.wait_for("recommendations", 100)
    assert flow.end(signal.SIGTERM) == 0
    with flow.log.open("ab") as log:
        flow.process = subprocess.Popen(
            [sys.executable, "-c", CLOCK], env=os.environ | flow._settings, stdout=log, stderr=subprocess.STDOUT
        )
    started = time.monotonic()
    with steady_events(scene.platform, 50.0):
        while time.monotonic() - started < 75.0:
            time.sleep(1.0)
            assert flow.is_running, flow.log.read_text()
    tell(f"the flow went on by itself; {scene.drain_and_count(flow)}")
