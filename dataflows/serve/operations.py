"""What an operator does through the door: puts a ranker's older version into service, and forgets a user."""

import time
import uuid

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from dataflows.codecs import encode, erasure_decoder
from dataflows.kafka.writer import WriteError
from dataflows.records import Record
from dataflows.run.resources import expected_receipts
from dataflows.serve.access import RefusedError
from dataflows.serve.door import Door
from models.messages import DeadLetter, Erasure
from models.online.versions import Version, pin_row


class Operations:
    """Answers operators' calls; where tokens are set, these need the scope `admin`."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._decode_erasures = erasure_decoder(door.settings.events)
        self._expected = expected_receipts(door.settings)

    def routes(self) -> list[Route]:
        """List what can be called."""
        return [
            Route("/rankers", self.rankers, methods=["GET"]),
            Route("/rankers/{name}/rollback", self.rollback, methods=["POST"]),
            Route("/rankers/{name}/release", self.release, methods=["POST"]),
            Route("/users/{user:path}", self.erase, methods=["DELETE"]),
            Route("/erasures/{erasure}", self.receipts, methods=["GET"]),
        ]

    async def rankers(self, _call: HttpRequest) -> Response:
        """Give each ranker's versions and which one serves."""
        return _json({"rankers": self._door.rankers.read()})

    async def rollback(self, call: HttpRequest) -> Response:
        """Put the version before the one that serves into service, until it is released."""
        name = self._ranker(call)
        older = self._door.rankers.before(name)
        if older is None:
            raise RefusedError(409, "nothing_older", f"{name}: no older version is kept to go back to")
        await self._pin(name, older)
        return _json({"ranker": name, "serves": older.version}, 202)

    async def release(self, call: HttpRequest) -> Response:
        """Let `learn` decide again which version serves."""
        name = self._ranker(call)
        await self._pin(name, None)
        return _json({"ranker": name}, 202)

    async def erase(self, call: HttpRequest) -> Response:
        """Forget a user: everything until now, by every flow; `/erasures/ID` has the receipts as they come."""
        erasure = Erasure(f"door-{uuid.uuid4().hex}", call.path_params["user"], int(time.time() * 1_000))
        record = Record(0, 0, erasure.requested_at, erasure.user_id.encode(), encode(erasure))
        checked = self._decode_erasures([record])[0]
        if isinstance(checked, DeadLetter):
            raise RefusedError(400, checked.reason, checked.detail)
        await self._write("erasures", erasure.user_id, encode(erasure))
        self._door.counts["written_erasures"] += 1
        return _json({"erasure_id": erasure.erasure_id, "receipts": f"/erasures/{erasure.erasure_id}"}, 202)

    async def receipts(self, call: HttpRequest) -> Response:
        """Give an erasure's receipts so far, and which flows have not answered yet."""
        found = self._door.receipts.of(call.path_params["erasure"])
        awaited = sorted(flow for flow, places in self._expected.items() if not places <= found.keys())
        receipts = [found[place] for place in sorted(found)]
        return _json({"erasure_id": call.path_params["erasure"], "awaited": awaited, "receipts": receipts})

    def _ranker(self, call: HttpRequest) -> str:
        name = str(call.path_params["name"])
        if not self._door.rankers.known(name):
            raise RefusedError(404, "unknown_ranker", f"no ranker {name!r} has versions")
        return name

    async def _pin(self, name: str, version: Version | None) -> None:
        row = pin_row(name, version)
        await self._write("model-updates", row.key, row.value)

    async def _write(self, topic: str, key: str, value: bytes | None) -> None:
        try:
            await self._door.writer.write(self._door.topic(topic), key, value)
        except WriteError as error:
            raise RefusedError(503, "not_written", f"{error}; try it again") from error


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
