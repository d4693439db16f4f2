"""The door's contract as an OpenAPI document, its schemas made from the types that decode and encode."""

from importlib.metadata import version
from typing import Any

import msgspec

from dataflows.serve.slates import Answer, ServedSlate
from models.messages import Event, Item, Request

_LOST = "the store of the slates does not answer"
_TYPES: tuple[type, ...] = (Answer, ServedSlate, Event, Request, Item)


def document() -> dict[str, Any]:
    """Return the document, OpenAPI 3.1."""
    schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")[1]
    for name, filled in (("Event", ("event_id", "timestamp")), ("Request", ("request_id", "timestamp"))):
        required = schemas[name].get("required", [])
        schemas[name]["required"] = [field for field in required if field not in filled]
    schemas["Problem"] = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "detail": {"type": "string"}},
        "required": ["error", "detail"],
    }
    user = _in_path("user")
    items = _switch("items", "Add the catalog's entry to each item.")
    features = _switch("features", "Give the slate as it is on the topic, with all that learning logs.")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Eddy",
            "version": version("eddy-recs"),
            "description": "Recommendation slates out, behaviour events in.",
        },
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
        "paths": {
            "/users/{user}/slate": {
                "get": _call(
                    "A user's newest slate", "ServedSlate", [user, items, features],
                    {"404": "no slate yet", "503": _LOST},
                )
            },
            "/users/{user}/stream": {
                "get": {
                    "summary": "A user's slates, each as it is written: server-sent events `slate`, data as of a slate",
                    "parameters": [user, items],
                    "responses": {
                        "200": {"description": "a stream", "content": {"text/event-stream": {}}},
                        "503": _problem(f"too many streams are open, or {_LOST}"),
                    },
                }
            },
            "/requests": {
                "post": _call(
                    "Ask for a slate and wait for it; `fallback` says where another came in its place",
                    "Answer",
                    [items],
                    {
                        "400": "wrong", "503": f"the broker did not take it, or {_LOST}",
                        "504": "there is nothing to give",
                    },
                    _one("Request"),
                )
            },
            "/events": {
                "post": _call(
                    "Write one event or a list; acknowledged by the broker",
                    None,
                    [],
                    {"400": "wrong; nothing was written", "503": "the broker did not take it"},
                    _one_or_more("Event"),
                )
            },
            "/items": {
                "put": _call(
                    "Write one entry of the catalog or a list",
                    None,
                    [],
                    {"400": "wrong; nothing was written", "503": "the broker did not take it"},
                    _one_or_more("Item"),
                ),
                "get": _call("Entries of the catalog, by id or by words of the title", None, [
                    {"name": "id", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "query", "in": "query", "schema": {"type": "string"}},
                ], {"503": _LOST}),
            },
            "/trending": {"get": _call("What trends among all users", None, [], {"503": _LOST})},
            "/users/{user}": {
                "delete": _taken(
                    "Forget a user until now, in every flow; answers with the erasure's id", [user],
                    {"503": "the broker did not take it"},
                )
            },
            "/erasures/{erasure}": {
                "get": _call("An erasure's receipts so far, and who has not answered", None, [_in_path("erasure")], {})
            },
            "/rankers": {"get": _call("The rankers' versions and which one serves", None, [], {})},
            "/rankers/{name}/rollback": {
                "post": _taken(
                    "Put the version before the one that serves into service", [_in_path("name")],
                    {"404": "no such ranker", "409": "nothing older is kept", "503": "the broker did not take it"},
                )
            },
            "/rankers/{name}/release": {
                "post": _taken(
                    "Let `learn` decide again which version serves", [_in_path("name")],
                    {"404": "no such ranker", "503": "the broker did not take it"},
                )
            },
        },
    }  # fmt: skip


def _switch(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "boolean", "default": False}}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _one(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_or_more(name: str) -> dict[str, Any]:
    return {"oneOf": [_one(name), {"type": "array", "items": _one(name)}]}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _one("Problem")}}}


def _taken(summary: str, parameters: list[dict[str, Any]], problems: dict[str, str]) -> dict[str, Any]:
    """Describe a call without a body that is answered with 202."""
    call = _call(summary, None, parameters, problems)
    call["responses"]["202"] = call["responses"].pop("200")
    return call


def _call(
    summary: str,
    gives: str | None,
    parameters: list[dict[str, Any]],
    problems: dict[str, str],
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    schema = _one(gives) if gives else {"type": "object"}
    good = {"description": "as asked", "content": {"application/json": {"schema": schema}}}
    call: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters,
        "responses": {"200" if body is None or gives else "202": good}
        | {status: _problem(text) for status, text in problems.items()},
    }
    if body is not None:
        call["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return call
