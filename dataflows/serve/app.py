"""The door as a web application, and the server that runs it."""

import asyncio
import logging
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import uvicorn
from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dataflows.errors import EddyError
from dataflows.run.metrics import BUILD
from dataflows.run.settings import Settings
from dataflows.run.tracing import open_tracer
from dataflows.serve.access import Access, RefusedError
from dataflows.serve.api import Api, no_such_call, refused
from dataflows.serve.door import Door, open_door
from dataflows.serve.live import LivePage
from dataflows.serve.openapi import document
from dataflows.serve.operations import Operations
from dataflows.serve.read_models.choice import chosen_model
from dataflows.serve.timing import Timing
from dataflows.serve.tracing import Traced

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

PAGE = Path(str(files("dataflows.serve") / "page"))


def make_app(door: Door, tracer: "Tracer | None" = None) -> Starlette:
    """Lay out the door's routes.

    Parameters
    ----------
    tracer : gives each call a span; none: nobody asks for traces.
    """
    contract = orjson.dumps(document())
    registry = CollectorRegistry()
    registry.register(_DoorFigures(door))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    build = Gauge(BUILD, "Always 1; says which release runs.", ["flow", "version"], registry=registry)
    build.labels("serve", version("eddy-recs")).set(1)

    async def openapi(_call: HttpRequest) -> Response:
        return Response(contract, media_type="application/json")

    async def health(_call: HttpRequest) -> Response:
        return Response("OK" if door.failure is None else "FAILED", 200 if door.failure is None else 503)

    async def readiness(_call: HttpRequest) -> Response:
        await door.store.read(door.model.ping)
        return Response("OK" if door.ready else "LOADING", 200 if door.ready else 503)

    async def metrics(_call: HttpRequest) -> Response:
        await door.store.count()
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    settings = door.settings.serve
    middleware = [Middleware(Timing, registry=registry), Middleware(Access, settings=settings)]
    if tracer is not None:
        middleware.insert(0, Middleware(Traced, tracer=tracer))
    if settings.cors:
        middleware.insert(0, Middleware(CORSMiddleware, allow_origins=settings.cors, allow_methods=["*"],
                                        allow_headers=["authorization", "content-type"]))  # fmt: skip
    return Starlette(
        routes=[
            *Api(door).routes(),
            *Operations(door).routes(),
            *LivePage(door).routes(),
            Route("/openapi.json", openapi),
            Route("/healthz", health),
            Route("/readyz", readiness),
            Route("/metrics", metrics),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=middleware,
        exception_handlers={RefusedError: refused, HTTPException: no_such_call},
    )


class _DoorFigures:
    """Exports what the door counts as Prometheus metrics."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("eddy_door", "What the door did, by outcome.", labels=["outcome"])
        for outcome, n in sorted(self._door.counts.items()):
            family.add_metric([outcome], n)
        yield family
        ready = GaugeMetricFamily("eddy_ready", "1 where the flow is ready to work.", labels=["flow"])
        ready.add_metric(["serve"], float(self._door.ready))
        yield ready
        yield GaugeMetricFamily("eddy_door_streams", "Streams of slates that are open.", self._door.hub.n_streams)
        for name, n in self._door.store.kept.items():
            yield GaugeMetricFamily(f"eddy_door_{name}", f"How many {name} are kept.", n)


async def serve(settings: Settings, ready: Callable[[str], object]) -> None:
    """Serve until a signal says to stop.

    Parameters
    ----------
    ready : called with the door's address once it listens and has read what the topics hold.

    Raises
    ------
    EddyError : a topic is missing, no broker or store answers, the port is taken, or the topics became unreadable.
    """
    with ExitStack() as stack:
        file = settings.serve.store
        if file is None:
            file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eddy-serve-"))) / "newest.sqlite3"
        loop = asyncio.get_running_loop()
        model = chosen_model(settings, file)
        door = await asyncio.to_thread(lambda: stack.enter_context(open_door(settings, model, loop)))
        tracer = stack.enter_context(open_tracer("serve"))
        config = uvicorn.Config(
            make_app(door, tracer),
            host=settings.serve.host,
            port=settings.serve.port,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
            limit_concurrency=settings.serve.max_connections,
        )
        server = _DoorServer(config, door, ready)
        if threading.current_thread() is threading.main_thread():
            # The server stops by these itself, and raises them again then: what was opened is yet to be closed.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, server.take_signal)
        try:
            await server.serve()
        except SystemExit:
            raise EddyError(
                f"the door cannot listen on {settings.serve.host}:{settings.serve.port}: choose another "
                "EDDY_SERVE__PORT (0 takes a free one)"
            ) from None
        if door.failure is not None:
            raise door.failure


class _DoorServer(uvicorn.Server):
    """Stops when its topics can no longer be followed: a door that answers from the past in silence helps nobody."""

    def __init__(self, config: uvicorn.Config, door: Door, ready: Callable[[str], object]) -> None:
        super().__init__(config)
        self._door = door
        self._ready = ready
        self._is_announced = False

    def take_signal(self, number: int, _frame: object) -> None:
        """Stop, by a signal that comes while the server does not listen to it; the next one ends the process."""
        self.should_exit = True
        signal.signal(number, signal.SIG_DFL)

    async def on_tick(self, counter: int) -> bool:
        """Look ten times a second whether to announce, and whether to stop."""
        if not self._is_announced and self.servers and self._door.ready:
            self._is_announced = True
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://{host}:{port}")
        if self._door.failure is not None:
            self.should_exit = True
        return await super().on_tick(counter)
