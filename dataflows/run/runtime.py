"""What a running flow has beside its graph: health and metrics, garbage collection, the engine."""

import gc
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from socket import SHUT_RDWR, socket
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from prometheus_client import make_wsgi_app

from dataflows.errors import EddyError, fixable
from dataflows.following.erasures import Erasures
from dataflows.run.engine_failures import explained
from dataflows.run.infrastructure import HttpSettings
from dataflows.run.metrics import FlowMetrics
from dataflows.run.recovery_store import recovery_config, store_folder
from dataflows.run.settings import Settings
from dataflows.run.stopping import Pauses
from dataflows.store.sweeping import Sweeping

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

MAX_CONNECTIONS = 16
"""To the probes and metrics, at a time."""
READ_TIMEOUT_S = 5
"""For which a connection may send nothing."""


@dataclass
class Health:
    """What the probes and Prometheus see."""

    flow: str = "recommend"
    ready: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    pauses: Pauses = field(default_factory=Pauses)
    erased: Erasures | None = None
    """Who is erased, for what the flow's store still holds of them."""
    tracer: "Tracer | None" = None
    """Gives batches spans; None: nobody asks for traces."""
    metrics: FlowMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = metrics = FlowMetrics(self.flow, self.counts)
        pauses = self.pauses
        pauses.on_snapshot = metrics.snapshot_seconds.observe
        metrics.watch("eddy_ready", "1 where the flow is ready to work.", lambda: float(self.ready))
        metrics.watch(
            "eddy_last_snapshot_timestamp_seconds",
            "When the newest snapshot was begun, Unix seconds; 0 before the first.",
            lambda: pauses.snapshot_began_at,
        )
        metrics.watch_by(
            "eddy_longest_pause_seconds",
            "Longest time for which no source was polled.",
            ("during",),
            lambda: [(("work",), pauses.working_s), (("snapshot",), pauses.snapshot_s)],
        )


class _Server(ThreadingMixIn, WSGIServer):
    """Answers a few connections at a time; of more, those that have been open longest are cut.

    So whoever opens many and sends nothing takes neither threads nor the place of a probe.
    """

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: deque[socket] = deque()
        self._room = threading.Semaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            with suppress(IndexError, OSError):
                self._open[0].shutdown(SHUT_RDWR)
            self._room.acquire()
        self._open.append(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.remove(request)
        self._room.release()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that was cut or that sent nothing."""


class _Quiet(WSGIRequestHandler):
    timeout = READ_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Probes are not news."""


@contextmanager
def serve_health(settings: HttpSettings, health: Health) -> Iterator[int]:
    """Serve `/healthz`, `/readyz` and `/metrics`; gives the port."""
    if not settings.enabled:
        yield 0
        return
    metrics = make_wsgi_app(health.metrics.registry)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        good = path == "/healthz" or (path == "/readyz" and health.ready)
        known = path in ("/healthz", "/readyz")
        status = "200 OK" if good else "503 Service Unavailable" if known else "404 Not Found"
        start_response(status, [("Content-Type", "text/plain")])
        return [status[4:].encode()]

    try:
        server = make_server(settings.host, settings.port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise EddyError(
            f"the health endpoint cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "choose another EDDY_HTTP__PORT (0 takes a free one), or EDDY_HTTP__ENABLED=false"
        ) from None
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def tune_gc() -> None:
    """Let the garbage collector leave long-lived objects alone.

    What start-up made lives as long as the process, and profiles live for days: with Python's defaults they are
    searched for garbage many times a second. The benchmark's bare loop makes a fifth more slates with these thresholds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def run_flow(dataflow: Dataflow, settings: Settings, flow: str) -> None:
    """Run a flow until its sources end.

    Raises
    ------
    EddyError : what stopped the flow, where a person can fix it.
    """
    recovery = recovery_config(settings, flow)
    members = settings.cluster.members
    store = store_folder(settings, flow)
    tune_gc()
    try:
        # The store of a cluster is process 0's.
        with closing(Sweeping(store)) if store is not None and settings.cluster.process == 0 else nullcontext():
            cli_main(  # type: ignore[no-untyped-call]
                dataflow,
                process_id=settings.cluster.process_id if members else None,
                addresses=members or None,
                epoch_interval=timedelta(seconds=settings.recovery.epoch_s(flow)) if recovery else None,
                recovery_config=recovery,
            )
    except BaseException as error:
        known = fixable(error) or explained(error, store)
        if known is None:
            raise
        raise known from None
