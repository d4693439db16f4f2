"""A span for each call of the door: named by its route, below the caller's own."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.trace import SpanKind

from dataflows.run.infrastructure import ServeSettings
from dataflows.run.settings import Settings
from dataflows.serve.app import make_app
from dataflows.serve.door import Door
from dataflows.serve.read_models.sqlite import SqliteModel
from tests.dataflows.run.test_tracing import spans_of
from tests.dataflows.serve.test_api import Platform

ROUTE = "/users/{user:path}/slate"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
"""Of the example in the W3C's Trace Context."""


def called(folder: Path, *calls: tuple[str, str], headers: Any = None, is_down: bool = False) -> Any:
    """Call the door; return the finished spans."""

    async def run(tracer: Any) -> None:
        platform = Platform()
        platform.is_down = is_down
        door = Door(
            Settings(serve=ServeSettings(wait_ms=1)),
            SqliteModel(folder / "n.sqlite3"),
            asyncio.get_running_loop(),
            platform,
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(make_app(door, tracer)), base_url="http://d"
        ) as client:
            for method, path in calls:
                body = [{"user_id": "u-7", "item_id": "i", "event_type": "click"}] if method == "POST" else None
                await client.request(method, path, headers=headers, json=body)
        door.model.close()

    with spans_of("eddy-serve") as (tracer, exporter):
        asyncio.run(run(tracer))
        return exporter.get_finished_spans()


def test_a_call_is_a_span_of_its_route_without_the_users_id(tmp_path: Path):
    [span] = called(tmp_path, ("GET", "/users/u-7/slate?token=secret"))
    assert (span.name, span.kind, span.parent) == (f"GET {ROUTE}", SpanKind.SERVER, None)
    assert dict(span.attributes) == {
        "http.request.method": "GET", "http.route": ROUTE, "http.response.status_code": 404,
    }  # fmt: skip
    assert "u-7" not in span.to_json()
    assert "secret" not in span.to_json()


def test_it_stands_below_the_callers_span(tmp_path: Path):
    [span] = called(tmp_path, ("GET", "/healthz"), headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, CALLER)


@pytest.mark.parametrize("parent", ["", "00-0-0-01", f"00-{'0' * 32}-{CALLER}-01", "\xff", "x" * 5_000])
def test_what_is_no_span_begins_a_trace_of_its_own(tmp_path: Path, parent: str):
    [span] = called(tmp_path, ("GET", "/healthz"), headers={b"traceparent": parent.encode("latin-1")})
    assert span.parent is None


def test_a_caller_who_is_not_sampled_makes_no_span(tmp_path: Path):
    assert called(tmp_path, ("GET", "/healthz"), headers={"traceparent": f"00-{TRACE}-{CALLER}-00"}) == ()


def test_what_the_door_could_not_do_is_an_error_and_what_was_asked_wrongly_is_none(tmp_path: Path):
    refused, down = called(tmp_path, ("GET", "/users/u-7/slate"), ("POST", "/events"), is_down=True)
    assert [span.status.is_ok for span in (refused, down)] == [True, False]
    assert down.attributes["http.response.status_code"] == 503


def test_a_path_that_is_no_route_names_no_span(tmp_path: Path):
    [span] = called(tmp_path, ("BREW", "/nowhere/u-7"))
    assert "u-7" not in span.to_json()
