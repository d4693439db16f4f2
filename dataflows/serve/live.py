"""What the live page shows beside a user's slates: the stream's pulse, trends, experiments; once a second."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from dataflows.serve.access import RefusedError
from dataflows.serve.door import Door
from models.messages import ExperimentResult, MetricResult

PERIOD_S = 1.0
N_TRENDING = 8


class LivePage:
    """Gathers the picture once a second for all who look at it."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._picture = b"{}"
        self._drawn_at = 0.0

    def routes(self) -> list[Route]:
        """List what can be called."""
        return [
            Route("/live", self.once, methods=["GET"]),
            Route("/live/stream", self.stream, methods=["GET"]),
        ]

    async def once(self, _call: HttpRequest) -> Response:
        """Give the picture as it is now."""
        return Response(await self._draw(), media_type="application/json")

    async def stream(self, _call: HttpRequest) -> Response:
        """Push the picture once a second."""

        async def pictures() -> AsyncIterator[dict[str, str]]:
            while True:
                yield {"event": "picture", "data": (await self._draw()).decode()}
                await asyncio.sleep(PERIOD_S)

        return EventSourceResponse(pictures())

    async def _draw(self) -> bytes:
        now = time.time()
        if now - self._drawn_at >= PERIOD_S / 2:
            self._drawn_at = now
            door = self._door
            await door.store.count()
            try:
                trending = await door.trending(N_TRENDING)
            except RefusedError:
                trending = []
            picture = door.pulse.read(now) | {
                "ready": door.ready,
                "kept": door.store.kept,
                "streams": door.hub.n_streams,
                "trending": trending,
                "rankers": door.rankers.read(),
                "behind": door.lags.by_flow,
                "experiments": [_drawn(result) for result in door.pulse.results()],
            }
            self._picture = orjson.dumps(picture)
        return self._picture


def _drawn(result: ExperimentResult) -> dict[str, Any]:
    """Return what the page draws of an experiment: its goal by variant, and how the lifts have narrowed."""

    def goal(metrics: list[MetricResult]) -> MetricResult | None:
        return next((metric for metric in metrics if metric.metric == result.goal), None)

    return {
        "experiment": result.experiment,
        "goal": result.goal,
        "verdict": result.verdict,
        "note": result.note,
        "alpha": result.alpha,
        "mismatch_p": result.mismatch_p,
        "variants": [
            {"variant": arm.variant, "users": arm.users, "traffic": arm.traffic, "goal": goal(arm.metrics)}
            for arm in result.variants
        ],
        "traffic": [{"at": point.from_at, "shares": point.shares} for point in result.traffic],
        "history": [{"at": point.at, "users": point.users, "lifts": point.lifts} for point in result.history],
    }
