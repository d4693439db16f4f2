"""The messages as files: a JSON Schema each and one AsyncAPI document, made from the types that decode and encode.

Whoever writes or reads the topics generates code from them, and sees whether another release would break it.
"""

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from dataflows.docstrings import attribute_docstrings
from dataflows.topics import TOPICS, Topic
from models import messages
from models.messages import LikelyItem, SlateItem

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI = "asyncapi.json"
SCHEMAS = "schemas"
"""The folder of the schemas, beside the document."""
_REFERENCE = "#/components/schemas/{name}"


def described_topics() -> tuple[Topic, ...]:
    """Return the topics whose messages are JSON of the public contract."""
    return tuple(topic for topic in TOPICS if topic.value.isidentifier())


def schemas() -> dict[str, dict[str, Any]]:
    """Return a JSON Schema for each message, by its name; each stands by itself."""
    return {topic.value: {"$schema": DRAFT, **_schema_of(_message(topic))} for topic in described_topics()}


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document: a channel a topic, what Eddy receives and what it sends."""
    topics = described_topics()
    kinds = [_plain(_message(topic)) for topic in topics]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    for name, schema in components.items():
        _add_texts(schema, name)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Eddy",
            "version": version("eddy-recs"),
            "description": "Behaviour events in, recommendation slates out. Times are integer Unix milliseconds; a "
            "reader ignores fields that it does not know.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": {_operation(topic): _operates(topic) for topic in topics},
        "components": {"messages": {topic.value: _described(topic) for topic in topics}, "schemas": components},
    }


@cache
def documents() -> dict[str, str]:
    """Return all files by their names in the folder."""
    found = {ASYNCAPI: asyncapi()} | {f"{SCHEMAS}/{name}.json": schema for name, schema in schemas().items()}
    return {name: json.dumps(document, indent=2) + "\n" for name, document in found.items()}


def breaking(old: Mapping[str, Any], new: Mapping[str, Any], *, is_read: bool) -> list[str]:
    """Say what somebody who relies on a message's old schema would stumble over in the new one.

    Parameters
    ----------
    is_read : whether Eddy reads the message. Then what was written must still be taken: nothing more is required, no
        bound is narrower. Else what was read must still be there: nothing is gone, or missing at times.
    """
    return list(_breaks(_resolved(old, old), _resolved(new, new), "", is_read=is_read))


_NARROWER = {"maxLength": -1, "maxItems": -1, "maximum": -1, "exclusiveMaximum": -1, "maxProperties": -1,
             "minLength": 1, "minItems": 1, "minimum": 1, "exclusiveMinimum": 1}  # fmt: skip
"""Which way each bound moves where it becomes narrower."""
_ANY = "any"
"""The kind of a schema that names no type."""


def _breaks(old: Mapping[str, Any], new: Mapping[str, Any], where: str, *, is_read: bool) -> Iterator[str]:
    before, after = _options(old), _options(new)
    # A writer may go on writing what it wrote; a reader may meet nothing that it never met.
    given, taken = (before, after) if is_read else (after, before)
    for kind in given:
        if _taking(kind, taken) is None:
            yield f"{where} may not be {kind} any more" if is_read else f"{where} may be {kind} now"
    for kind, was in before.items():
        found = _taking(kind, after)
        if found is not None:
            yield from _breaks_in(was, after[found], where, is_read=is_read)


def _options(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what a value may be, by its kind."""
    if "anyOf" in schema:
        return {kind: each for option in schema["anyOf"] for kind, each in _options(option).items()}
    kinds = schema.get("type", "choice" if "enum" in schema else _ANY)
    return dict.fromkeys([kinds] if isinstance(kinds, str) else kinds, schema)


def _taking(kind: str, options: Mapping[str, Any]) -> str | None:
    """Find the option that a value of a kind is; an integer is a number."""
    also = {"integer": ("number",), "choice": ("string",)}.get(kind, ())
    return next((one for one in (kind, *also, _ANY) if one in options), None)


def _breaks_in(old: Mapping[str, Any], new: Mapping[str, Any], where: str, *, is_read: bool) -> Iterator[str]:
    """Compare two options of one kind."""
    within = f"{where}." if where else ""
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        if name not in after:
            yield f"{within}{name} is gone"
        else:
            yield from _breaks(schema, after[name], f"{within}{name}", is_read=is_read)
    required, requires = set(old.get("required", ())) & before.keys(), set(new.get("required", ()))
    changed = requires - required if is_read else (required & after.keys()) - requires
    for name in sorted(changed):
        yield f"{within}{name} is {'required now' if is_read else 'not always there any more'}"
    if "enum" in old and "enum" in new:
        lost, met = ([one for one in some if one not in others] for some, others in _both(old["enum"], new["enum"]))
        for one in lost if is_read else met:
            yield f"{where} may not be {one!r} any more" if is_read else f"{where} may be {one!r} now"
    for part, name in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
            yield from _breaks(old[part], new[part], f"{where}{name}", is_read=is_read)
    for place, (was, is_now) in enumerate(zip(old.get("prefixItems", ()), new.get("prefixItems", ()), strict=False)):
        yield from _breaks(was, is_now, f"{where}[{place}]", is_read=is_read)
    if is_read:
        yield from _narrower(old, new, where)


def _both(some: list[Any], others: list[Any]) -> tuple[tuple[list[Any], list[Any]], tuple[list[Any], list[Any]]]:
    return (some, others), (others, some)


def _narrower(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Iterator[str]:
    for bound, way in _NARROWER.items():
        limit, now = old.get(bound), new.get(bound)
        if now is not None and (limit is None or way * (now - limit) > 0):
            yield f"{where}: {bound} is {now}, where it was {'open' if limit is None else limit}"


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """Put what is referred to in the place of each reference; no message holds itself."""
    if "$ref" in schema:
        return _resolved(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    return {
        name: _resolved(value, root)
        if isinstance(value, dict) and name != "$defs"
        else [_resolved(each, root) if isinstance(each, dict) else each for each in value]
        if isinstance(value, list)
        else value
        for name, value in schema.items()
    }


def _message(topic: Topic) -> type[Any]:
    kind: type[Any] = getattr(messages, topic.value)
    return kind


def _schema_of(kind: type[Any]) -> dict[str, Any]:
    schema = msgspec.json.schema(_plain(kind))
    name = schema.pop("$ref").rpartition("/")[2]
    parts = schema["$defs"]
    for part, found in parts.items():
        _add_texts(found, part)
    own = parts.pop(name)
    return {**own, **({"$defs": parts} if parts else {})}


def _add_texts(schema: dict[str, Any], name: str) -> None:
    """Write what the types say of themselves into their schema."""
    kind = LikelyItem if name == SlateItem.__name__ else getattr(messages, name, None)
    if kind is None:
        return
    schema["description"] = _first_paragraph((SlateItem if kind is LikelyItem else kind).__doc__ or "")
    texts = attribute_docstrings(kind)
    for field_name, found in schema.get("properties", {}).items():
        if field_name in texts:
            found["description"] = texts[field_name]
    if kind is LikelyItem:
        own = {one.name for one in fields(SlateItem)}
        schema["required"] = [one for one in schema["required"] if one in own]


def _first_paragraph(text: str) -> str:
    return " ".join(text.strip().partition("\n\n")[0].split())


def _plain(kind: type[Any]) -> type[Any]:
    """Make a type as its JSON is: arrays are lists, and an item may say how probable its stages are."""
    if kind is SlateItem:
        return _made(LikelyItem, SlateItem.__name__)
    return _made(kind, kind.__name__)


def _made(kind: type[Any], name: str) -> type[Any]:
    hints = get_type_hints(kind, include_extras=True)
    parts: list[Any] = []
    for one in fields(kind):
        default = one.default if one.default is not MISSING else MISSING
        held = _listed(hints[one.name])
        if default is not MISSING:
            parts.append((one.name, held, field(default=default, kw_only=one.kw_only)))
        elif one.default_factory is not MISSING:
            parts.append((one.name, held, field(default_factory=one.default_factory)))
        else:
            parts.append((one.name, held))
    return make_dataclass(name, parts)


def _listed(hint: Any) -> Any:
    """Let a hint speak of lists where it speaks of arrays, and of plain types."""
    if is_dataclass(hint) and isinstance(hint, type):
        return _plain(hint)
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        kept = [_listed(one) for one in arguments if get_origin(one) is not np.ndarray]
        return Union[tuple(kept)]  # noqa: UP007 - of a tuple there is no other way
    if get_origin(hint) is list:
        return list[_listed(arguments[0])]  # type: ignore[misc]
    return hint


def _channel(topic: Topic) -> dict[str, Any]:
    cleanup = topic.cleanup.split(",")
    return {
        "address": "{prefix}" + topic.name,
        "description": f"Written by {'the platform' if topic.written_by == 'platform' else topic.written_by}.",
        "parameters": {"prefix": {"description": "EDDY_TOPICS__PREFIX of the installation.", "default": ""}},
        "messages": {topic.value: {"$ref": f"#/components/messages/{topic.value}"}},
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": cleanup}}},
    }


def _operation(topic: Topic) -> str:
    verb = "receive" if topic.written_by == "platform" else "send"
    return verb + "".join(part.capitalize() for part in topic.name.split("-"))


def _operates(topic: Topic) -> dict[str, Any]:
    return {
        "action": "receive" if topic.written_by == "platform" else "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{topic.value}"}],
    }


def _described(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.value,
        "contentType": "application/json",
        "payload": {"$ref": _REFERENCE.format(name=topic.value)},
        "bindings": {"kafka": {"key": {"type": "string", "description": f"The {topic.key}."}}},
    }
