"""A span for each call of the door, below the caller's own where it says which."""

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataflows.serve.timing import METHODS, OTHER

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

PARENT = (b"traceparent", b"tracestate")
"""Headers of the W3C's Trace Context."""
SERVER_ERROR = 500


class Traced:
    """Traces each answer from the call until its last byte; streams until they begin.

    Names and attributes are those of OpenTelemetry's conventions for HTTP. A span names the route, never the path,
    which holds users' ids.

    Parameters
    ----------
    app : what answers.
    tracer : makes the spans.
    """

    def __init__(self, app: ASGIApp, tracer: "Tracer") -> None:
        from opentelemetry.trace import SpanKind

        self._app = app
        self._tracer = tracer
        self._kind = SpanKind.SERVER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer within a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER
        span = self._tracer.start_span(method, context=_parent(scope), kind=self._kind)
        status, is_stream = SERVER_ERROR, False

        async def observed(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
                if is_stream:
                    _end(span, scope, method, status)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            if not is_stream:
                _end(span, scope, method, status)


def _parent(scope: Scope) -> "Context":
    """Read the caller's span; what is no span of anybody begins a trace of its own."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in PARENT}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _end(span: "Span", scope: Scope, method: str, status: int) -> None:
    from opentelemetry.trace import StatusCode

    route = getattr(scope.get("route"), "path", OTHER) or OTHER
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if status >= SERVER_ERROR:
        span.set_status(StatusCode.ERROR)
    span.end()
