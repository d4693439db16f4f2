"""Spans for OpenTelemetry, where the standard OTEL_* variables ask for them; else none of it is imported.

A span never holds what a message says: no ids, no paths with ids, no text of an error.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from dataflows.errors import EddyError
from models.messages import DeadLetter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, Tracer

T = TypeVar("T")
S = TypeVar("S")

SERVICE = "OTEL_SERVICE_NAME"
EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
HTTP = "http/protobuf"
BATCH_SIZE, BATCH_OUTCOME = "eddy.batch.size", "eddy.batch.{outcome}"
"""Attributes: how many there were, and what became of them."""


def asked_for(environment: Mapping[str, str]) -> bool:
    """Say whether the environment asks for traces: it names where they go, and does not turn them off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get(EXPORTER) == "none"
    return not is_off and any(environment.get(name) for name in (EXPORTER, *ENDPOINTS))


@contextmanager
def open_tracer(process: str) -> "Iterator[Tracer | None]":
    """Make a tracer as the OTEL_* variables say, and send what is left with the context's end; None: not asked for.

    Where they go, how many at a time and which share is traced are the SDK's own variables (OTEL_EXPORTER_OTLP_*,
    OTEL_BSP_*, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES).

    Parameters
    ----------
    process : names the service where OTEL_SERVICE_NAME does not: `recommend` is `eddy-recommend`.

    Raises
    ------
    EddyError : the extra is not installed, or another exporter or protocol is asked for than there is.
    """
    if not asked_for(os.environ):
        yield None
        return
    with tracer_to(_processor(), os.environ.get(SERVICE) or f"eddy-{process}") as tracer:
        yield tracer


@contextmanager
def tracer_to(processor: "SpanProcessor", service: str) -> "Iterator[Tracer]":
    """Make a tracer that hands its spans to a processor; nothing global is set."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    try:
        yield provider.get_tracer("eddy")
    finally:
        provider.shutdown()


def _processor() -> "SpanProcessor":
    exporter = os.environ.get(EXPORTER) or "otlp"
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), HTTP)
    if exporter not in ("otlp", "console") or (exporter == "otlp" and protocol != HTTP):
        raise EddyError(
            f"traces go by {exporter!r} and {protocol!r}, which Eddy does not bring: set {EXPORTER} to otlp, console "
            f"or none, and {PROTOCOLS[1]} to {HTTP}"
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
    except ImportError:
        raise EddyError(
            "OTEL_* variables ask for traces, and OpenTelemetry is not installed: install the extra `otel`, or set "
            "OTEL_SDK_DISABLED=true"
        ) from None
    return BatchSpanProcessor(OTLPSpanExporter() if exporter == "otlp" else ConsoleSpanExporter())


@contextmanager
def span_of_batch(name: str, size: int, tracer: "Tracer") -> "Iterator[Span]":
    """Give a batch its span; an error is told by its type alone."""
    from opentelemetry.trace import StatusCode

    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        span.set_attribute(BATCH_SIZE, size)
        try:
            yield span
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def traced(
    name: str, step: Callable[[list[S]], list[T]], outcome: Callable[[list[T]], Mapping[str, int]], tracer: Any
) -> Callable[[list[S]], list[T]]:
    """Give each batch of a step a span; without a tracer it is the step itself.

    Parameters
    ----------
    outcome : counts what came of a batch, by name.
    """
    if tracer is None:
        return step

    def spanned(batch: list[S]) -> list[T]:
        with span_of_batch(name, len(batch), tracer) as span:
            made = step(batch)
            for part, n in outcome(made).items():
                span.set_attribute(BATCH_OUTCOME.format(outcome=part), n)
            return made

    return spanned


def read_or_refused(decoded: list[Any]) -> dict[str, int]:
    """Count what a decoder made of a batch."""
    refused = sum(isinstance(message, DeadLetter) for message in decoded)
    return {"read": len(decoded) - refused, "refused": refused}
