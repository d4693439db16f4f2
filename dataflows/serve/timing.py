"""How long the door takes to answer, by what was asked and what came of it."""

import time

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataflows.run.metrics import SECONDS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
OTHER = "other"
"""A method that is none of these, and a path that is no route: whoever asks must not fill the metrics with names."""


class Timing:
    """Times each answer from the call until its last byte; streams until they begin.

    Parameters
    ----------
    app : what answers.
    registry : where the times are kept.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "eddy_door_seconds",
            "To answer a call; of a stream, until it begins.",
            ["route", "method", "status"],
            buckets=SECONDS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and note how long that took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_at, status, is_stream = time.perf_counter(), 500, False

        async def observed(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
                if is_stream:
                    self._observe(scope, status, began_at)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            if not is_stream:
                self._observe(scope, status, began_at)

    def _observe(self, scope: Scope, status: int, began_at: float) -> None:
        route = getattr(scope.get("route"), "path", OTHER) or OTHER
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._seconds.labels(route, method, str(status)).observe(time.perf_counter() - began_at)
