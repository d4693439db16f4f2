"""How soon `eddy run recommend` answers its probe, and is ready."""

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dataflows.demo.broker import EmbeddedBroker, running
from dataflows.demo.flow_process import FlowProcess
from dataflows.kafka.admin import create_topics
from dataflows.topics import declare

PREFIX = "bench-"


def measure_start(n_starts: int = 3) -> dict[str, float]:
    """Start the flow on empty topics, one time more than is counted: the first one may have kernels to compile."""
    with tempfile.TemporaryDirectory() as folder, running(EmbeddedBroker()) as process:
        servers = process.broker.bootstrap_servers
        client: dict[str, Any] = {"bootstrap.servers": servers}
        create_topics(client, declare(PREFIX), 1)
        settings = {
            "EDDY_KAFKA__BOOTSTRAP_SERVERS": servers,
            "EDDY_TOPICS__PREFIX": PREFIX,
            "EDDY_RECOVERY__FOLDER": folder,
        }
        found = [_start(settings, Path(folder) / "log.txt") for _ in range(n_starts + 1)][1:]
    healthy_s, ready_s = np.median(found, axis=0)
    return {"healthy_s": float(healthy_s), "ready_s": float(ready_s), "n": n_starts}


def _start(settings: dict[str, str], log: Path) -> tuple[float, float]:
    began = time.perf_counter()
    flow = FlowProcess("recommend", settings, log)

    def is_healthy() -> bool:
        return bool(flow.metrics())  # where it answers, `/healthz` does

    try:
        return _seconds_until(is_healthy, flow, began), _seconds_until(flow.is_ready, flow, began)
    finally:
        flow.send(signal.SIGTERM)
        flow.wait()


def _seconds_until(is_so: Callable[[], bool], flow: FlowProcess, began: float) -> float:
    while True:
        flow.check()
        if is_so():
            return time.perf_counter() - began
        time.sleep(0.02)
