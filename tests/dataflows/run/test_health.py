"""The endpoint of probes and metrics, over sockets of this machine."""

import socket
import threading
import time
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from dataflows.run.infrastructure import HttpSettings
from dataflows.run.runtime import MAX_CONNECTIONS, READ_TIMEOUT_S, Health, _Quiet, serve_health


@pytest.fixture
def port() -> Iterator[int]:
    with serve_health(HttpSettings(port=0), Health(ready=True)) as port:
        yield port


def test_connections_that_send_nothing_take_neither_threads_nor_the_place_of_a_probe(port: int):
    """Two hundred of them made as many threads."""
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    try:
        for path in ("healthz", "readyz", "metrics"):
            with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                assert answer.status == 200
        deadline = time.monotonic() + 10  # the thread of one that was just cut may need a moment to end
        while threading.active_count() > before + MAX_CONNECTIONS and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() <= before + MAX_CONNECTIONS
        idle[0].settimeout(10)
        assert idle[0].recv(1) == b""
    finally:
        for connection in idle:
            connection.close()


def test_a_connection_may_say_nothing_for_some_seconds_only():
    assert _Quiet.timeout == READ_TIMEOUT_S
