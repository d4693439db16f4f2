"""Who may come through the door, and with how much: tokens by scope, and a bound on bodies."""

from hmac import compare_digest
from typing import Any

import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataflows.run.infrastructure import ServeSettings

SCOPES = ("read", "write", "admin")
"""Each may do what those before it may."""
GUARDED = ("/users/", "/requests", "/events", "/items", "/trending", "/live", "/metrics", "/rankers", "/erasures")
"""What needs a token; probes, the contract and the page itself, which holds nothing, do not."""


class RefusedError(Exception):
    """A call that is not answered as asked.

    Parameters
    ----------
    status : of HTTP.
    reason : a short, countable name.
    detail : what is wrong, and how to mend it.
    """

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


def scope_of(method: str, path: str) -> str:
    """Name the scope that a call needs."""
    if method == "DELETE" or (path.startswith(("/items", "/rankers")) and method not in ("GET", "HEAD")):
        return "admin"
    return "read" if method in ("GET", "HEAD") else "write"


class Access:
    """Asks for a token where the settings name some, and refuses bodies that are too long.

    Browsers cannot send headers with a stream of events, so `?token=` is taken as well.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app = app
        self._max_body = settings.max_body_bytes
        self._tokens = [
            (token.get_secret_value().encode(), SCOPES.index(scope))
            for scope, tokens in settings.tokens.items()
            for token in tokens
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._tokens and scope["path"].startswith(GUARDED) and scope["method"] != "OPTIONS":
            may = self._rank(_token(headers, scope))
            needed = scope_of(scope["method"], scope["path"])
            if may < SCOPES.index(needed):
                status = 401 if may < 0 else 403
                await _refuse(send, status, "unauthorized", f"this needs a token that may {needed}")
                return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body:
            await _refuse(send, 413, "oversized", f"a body may have at most {self._max_body} bytes")
            return
        await self._app(scope, self._bounded(receive), send)

    def _rank(self, token: str) -> int:
        """Return the highest scope of a token; -1: none."""
        given = token.encode()
        return max((rank for known, rank in self._tokens if compare_digest(known, given)), default=-1)

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body:
                raise RefusedError(413, "oversized", f"a body may have at most {self._max_body} bytes")
            return message

        return bounded


def _token(headers: Headers, scope: Scope) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    return QueryParams(scope.get("query_string", b"")).get("token", "")


async def _refuse(send: Send, status: int, reason: str, detail: str) -> None:
    body = problem(reason, detail)
    headers: list[Any] = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def problem(reason: str, detail: str) -> bytes:
    """Write what is wrong as the door writes it everywhere."""
    return orjson.dumps({"error": reason, "detail": detail})
