"""The HTTP interface: slates out, events, requests and items in."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec
import orjson
from sse_starlette.sse import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from dataflows.codecs import Decoder, catalog_decoder, encode, event_decoder, request_decoder
from dataflows.kafka.writer import WriteError
from dataflows.records import Record
from dataflows.run.wording import chosen_phrases
from dataflows.serve.access import RefusedError, problem
from dataflows.serve.door import Door
from dataflows.serve.hub import TooManyStreamsError
from dataflows.serve.slates import Answer, ServedItem, ServedSlate, served
from models.messages import DeadLetter, Item, Request
from models.names import DEFAULT_PLACEMENT, ReasonCode
from models.phrases import Why

M = TypeVar("M")

MAX_MESSAGES = 1_000
"""Events or items of one call."""
MAX_FOUND = 50
TRENDING: ReasonCode = "trending"


class Api:
    """Answers calls from what stands behind the door."""

    def __init__(self, door: Door) -> None:
        self._door = door
        settings = door.settings
        self._decode_events = event_decoder(settings.events)
        self._decode_requests = request_decoder(settings.events, placements=settings.placements)
        self._decode_items = catalog_decoder(settings.events)
        self._trends_now = chosen_phrases(settings).say(Why(TRENDING))
        self._wait_s = settings.serve.wait_ms / 1_000

    def routes(self) -> list[Route]:
        """List what can be called."""
        return [
            Route("/users/{user:path}/slate", self.slate, methods=["GET"]),
            Route("/users/{user:path}/stream", self.stream, methods=["GET"]),
            Route("/requests", self.request, methods=["POST"]),
            Route("/events", self.events, methods=["POST"]),
            Route("/items", self.put_items, methods=["PUT"]),
            Route("/items", self.items, methods=["GET"]),
            Route("/trending", self.trending, methods=["GET"]),
        ]

    async def slate(self, call: HttpRequest) -> Response:
        """Give a user's newest slate."""
        user = call.path_params["user"]
        value = await self._door.store.read(self._door.model.slate, user)
        if value is None:
            raise RefusedError(
                404, "no_slate", "this user has no slate yet: send an event of theirs to /events, or ask /requests"
            )
        if _is_set(call, "features"):
            return _json(value)
        return _json(msgspec.json.encode(await self._with_items(call, served(value))))

    async def stream(self, call: HttpRequest) -> Response:
        """Push a user's slates, each as it is written; the newest one at once."""
        user = call.path_params["user"]
        if self._door.hub.n_streams >= self._door.settings.serve.max_streams:
            raise RefusedError(503, "too_many_streams", "as many streams are open as EDDY_SERVE__MAX_STREAMS says")
        await self._door.store.read(self._door.model.ping)

        async def events() -> AsyncIterator[dict[str, str]]:
            try:
                with self._door.hub.stream(user) as queue:
                    newest: bytes | None = await self._door.store.read(self._door.model.slate, user)
                    while True:
                        if newest is not None:
                            slate = await self._with_items(call, served(newest))
                            yield {
                                "event": "slate",
                                "id": slate.recommendation_id,
                                "data": msgspec.json.encode(slate).decode(),
                            }
                        newest = await queue.get()
                        if newest is None:
                            yield {"event": "erased", "data": "{}"}
            except TooManyStreamsError:
                yield {"event": "full", "data": "{}"}
            except RefusedError:  # the store is lost: whoever listens connects again, and is told so
                return

        return EventSourceResponse(events(), ping=15)

    async def request(self, call: HttpRequest) -> Response:
        """Ask for a slate, and wait for it; when it does not come in time, give the next best and say so."""
        given = await _object(call)
        given.setdefault("request_id", uuid.uuid4().hex)
        given.setdefault("timestamp", _now_ms())
        request = self._checked(self._decode_requests, given, "user_id")
        with self._door.hub.awaiting(request.request_id) as slate:
            await self._write("requests", request.user_id, encode(request))
            try:
                made = await asyncio.wait_for(asyncio.shield(slate), self._wait_s)
            except TimeoutError:
                answer = await self._fallback(request)
                self._door.counts["request_fallback"] += 1
            else:
                answer = Answer(served(made))
        answer.slate = await self._with_items(call, answer.slate)
        return _json(msgspec.json.encode(answer))

    async def _fallback(self, request: Request) -> Answer:
        newest = await self._door.store.read(self._door.model.slate, request.user_id)
        placement = request.placement or DEFAULT_PLACEMENT
        if newest is not None and (slate := served(newest)).placement == placement:
            return Answer(slate, "newest")
        trending = await self._door.trending(2 * MAX_FOUND)
        ids = [item_id for item_id in trending if item_id != request.item_id]
        if not ids:
            raise RefusedError(
                504, "no_answer", "no slate came in time, the user has none, and nothing trends yet: is `recommend` up?"
            )
        items = [
            ServedItem(item_id, position, 0.0, TRENDING, self._trends_now, 1.0, reason_code=TRENDING)
            for position, item_id in enumerate(ids[: request.n_items or 10])
        ]
        empty = ServedSlate(
            "", request.user_id, request.timestamp, "request", request.request_id, None, None, "", items, placement
        )
        return Answer(empty, TRENDING)

    async def events(self, call: HttpRequest) -> Response:
        """Take one event or a list: all are written and acknowledged, or none is where one is wrong."""
        given = await _objects(call)
        for event in given:
            event.setdefault("event_id", uuid.uuid4().hex)
            event.setdefault("timestamp", _now_ms())
        events = [self._checked(self._decode_events, event, "user_id", at) for at, event in enumerate(given)]
        await self._write_all("events", [(event.user_id, encode(event)) for event in events])
        return _json(orjson.dumps({"accepted": len(events), "event_ids": [event.event_id for event in events]}), 202)

    async def put_items(self, call: HttpRequest) -> Response:
        """Take one entry of the catalog or a list; each replaces the one of its id."""
        items: list[Item] = []
        for at, given in enumerate(await _objects(call)):
            record = Record(0, at, _now_ms(), None, orjson.dumps(given))
            entry = self._decode_items([record])[0]
            if isinstance(entry, DeadLetter):
                raise _refusal(entry, at)
            items += [item for item in entry[1:] if isinstance(item, Item)]
        await self._write_all("catalog", [(item.item_id, encode(item)) for item in items])
        return _json(orjson.dumps({"accepted": len(items)}), 202)

    async def items(self, call: HttpRequest) -> Response:
        """Look items up by `id` (as often as there are), or by the beginnings of words of their titles, `query`."""
        ids = call.query_params.getlist("id")
        read, model = self._door.store.read, self._door.model
        words = call.query_params.get("query", "")
        found = await (read(model.items, ids[:MAX_MESSAGES]) if ids else read(model.search, words, MAX_FOUND))
        return _json(b'{"items":[' + b",".join(found) + b"]}")

    async def trending(self, _call: HttpRequest) -> Response:
        """Give the items that trend among all users."""
        ids = await self._door.trending(20)
        found = {item.item_id: item for item in map(_item, await self._door.store.read(self._door.model.items, ids))}
        return _json(msgspec.json.encode({"items": [found[item_id] for item_id in ids if item_id in found]}))

    def _checked(self, decode: Decoder[M], given: dict[str, Any], key: str, at: int | None = None) -> M:
        """Validate a message as the flows do."""
        name = given.get(key)
        record = Record(0, at or 0, _now_ms(), name.encode() if isinstance(name, str) else None, orjson.dumps(given))
        message = decode([record])[0]
        if isinstance(message, DeadLetter):
            raise _refusal(message, at)
        return message

    async def _write(self, topic: str, key: str, value: bytes) -> None:
        await self._write_all(topic, [(key, value)])

    async def _write_all(self, topic: str, messages: list[tuple[str, bytes]]) -> None:
        name = self._door.topic(topic)
        try:
            await asyncio.gather(*(self._door.writer.write(name, key, value) for key, value in messages))
        except WriteError as error:
            raise RefusedError(503, "not_written", f"{error}; nothing is lost if you send it again") from error
        self._door.counts[f"written_{topic}"] += len(messages)

    async def _with_items(self, call: HttpRequest, slate: ServedSlate) -> ServedSlate:
        """Add the catalog's entries where `?items=true` asks for them."""
        if _is_set(call, "items") and slate.items:
            found = await self._door.store.read(self._door.model.items, [row.item_id for row in slate.items])
            items = {item.item_id: item for item in map(_item, found)}
            for row in slate.items:
                row.item = items.get(row.item_id)
        return slate


_item: Callable[[bytes], Item] = msgspec.json.Decoder(Item).decode


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _is_set(call: HttpRequest, name: str) -> bool:
    return call.query_params.get(name, "").lower() in ("1", "true", "yes")


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _refusal(letter: DeadLetter, at: int | None) -> RefusedError:
    where = "" if at is None else f"message {at}: "
    return RefusedError(400, letter.reason, f"{where}{letter.detail}")


async def _objects(call: HttpRequest) -> list[dict[str, Any]]:
    given = await _body(call)
    objects = given if isinstance(given, list) else [given]
    if not objects or len(objects) > MAX_MESSAGES or not all(isinstance(part, dict) for part in objects):
        raise RefusedError(400, "malformed", f"the body has to be an object, or a list of 1 to {MAX_MESSAGES} objects")
    return objects


async def _object(call: HttpRequest) -> dict[str, Any]:
    given = await _body(call)
    if not isinstance(given, dict):
        raise RefusedError(400, "malformed", "the body has to be an object")
    return given


async def _body(call: HttpRequest) -> Any:
    try:
        return orjson.loads(await call.body())
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, "malformed", f"the body is no JSON: {error}") from error


async def refused(_call: HttpRequest, error: Exception) -> Response:
    """Answer a call that was refused."""
    assert isinstance(error, RefusedError)  # noqa: S101 - it is registered for these alone
    return Response(problem(error.reason, error.detail), error.status, media_type="application/json")


async def no_such_call(call: HttpRequest, error: Exception) -> Response:
    """Answer where nothing is at the path, or nothing by the method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these alone
    detail = f"{call.method} {call.url.path} is no call of this door: /openapi.json lists them"
    return Response(problem("no_such_call", detail), error.status_code, error.headers, media_type="application/json")
