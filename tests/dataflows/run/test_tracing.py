"""Spans of flows, by the SDK's own exporter in memory; and that nothing is loaded where nobody asks."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dataflows.errors import EddyError
from dataflows.run.tracing import asked_for, open_tracer, traced, tracer_to
from tests.flows.test_recommend import Run, an_event

OTLP = "http://127.0.0.1:9"
"""Where nobody listens."""


@contextmanager
def spans_of(service: str = "eddy-recommend") -> Iterator[tuple[Any, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    with tracer_to(SimpleSpanProcessor(exporter), service) as tracer:
        yield tracer, exporter


@pytest.fixture(autouse=True)
def nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OTEL_TRACES_EXPORTER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_SDK_DISABLED",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_SERVICE_NAME",
    ):
        monkeypatch.delenv(name, raising=False)  # fmt: skip


def test_a_batch_has_a_span_with_its_size_and_what_came_of_it():
    with spans_of() as (tracer, exporter):
        events = [an_event(0), an_event(1), an_event(2, event_type="unheard-of")]
        run = Run(events, tracer=tracer).run()
        assert len(run["recommendations"]) == 2
        found = {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}
    assert found["decode events"] == {"eddy.batch.size": 3, "eddy.batch.read": 2, "eddy.batch.refused": 1}
    assert found["score"]["eddy.batch.slates"] == 2


def test_no_span_holds_what_a_message_says():
    with spans_of() as (tracer, exporter):
        Run([an_event(n, user_id="somebody", item_id=f"i-{n}") for n in range(4)], tracer=tracer).run()
        text = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert "eddy-recommend" in text
    assert not any(word in text for word in ("somebody", "i-1", "e-1"))


def test_a_batch_that_fails_is_told_by_the_errors_type_alone():
    def fail(_batch: list[str]) -> list[str]:
        raise ValueError("user u-7 is the cause")

    with spans_of() as (tracer, exporter):
        with pytest.raises(ValueError, match="u-7"):
            traced("step", fail, lambda _: Counter(), tracer)(["a"])
        [span] = exporter.get_finished_spans()
    assert (span.status.is_ok, span.status.description, span.events) == (False, "ValueError", ())


def test_without_a_tracer_a_step_is_the_step_itself():
    step: Any = lambda batch: batch  # noqa: E731
    assert traced("step", step, len, None) is step


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": OTLP}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": OTLP}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": OTLP}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": OTLP}, False),
    ],
)
def test_traces_are_asked_for_by_the_standard_variables(environment: dict[str, str], asked: bool):
    assert asked_for(environment) is asked


def test_the_service_is_named_by_the_flow_unless_the_environment_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    with open_tracer("learn") as tracer:
        assert dict(tracer.resource.attributes)["service.name"] == "eddy-learn"  # type: ignore[union-attr]
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with open_tracer("learn") as tracer:
        attributes = dict(tracer.resource.attributes)  # type: ignore[union-attr]
    assert (attributes["service.name"], attributes["deployment.environment"]) == ("shop", "test")


@pytest.mark.parametrize(
    "environment",
    [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": OTLP, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}],
)
def test_another_exporter_or_protocol_than_there_is_stops_with_the_remedy(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EddyError, match="set OTEL_TRACES_EXPORTER to otlp, console or none"), open_tracer("learn"):
        pass


def test_without_the_extra_it_stops_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", OTLP)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(EddyError, match="install the extra `otel`"), open_tracer("learn"):
        pass


def test_where_nobody_asks_nothing_of_it_is_imported():
    program = (
        "import sys, dataflows.run.wiring, dataflows.serve.app\n"
        "from dataflows.run.tracing import open_tracer\n"
        "with open_tracer('learn') as tracer: assert tracer is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode().strip()) == (0, "[]"), done.stderr.decode()
