"""The JSON Schema of `eddy.yaml`, by which editors complete names, show what they mean and mark what is wrong."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

import msgspec

from dataflows.docstrings import attribute_docstrings
from dataflows.run.settings import Settings

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def setting_schema() -> dict[str, Any]:
    """Return the schema: its sections are pydantic's, and the core's own types are described by msgspec.

    msgspec alone knows the bounds that stand in the core's types; by both a type has the same name.
    """
    schema = Settings.model_json_schema()
    del schema["properties"]["config"]  # the file cannot name itself
    core = {kind.__name__: kind for field in Settings.model_fields.values() for kind in _dataclasses(field.annotation)}
    _, described = msgspec.json.schema_components(core.values(), schema_hook=_path, ref_template="#/$defs/{name}")
    for name, found in described.items():
        texts = attribute_docstrings(core[name])
        for part, held in found["properties"].items():
            if part in texts:
                held["description"] = texts[part]
        found["additionalProperties"] = False
    return {"$schema": DRAFT, **schema, "title": "eddy.yaml", "$defs": schema["$defs"] | described}


def _path(_kind: type[Any]) -> dict[str, str]:
    """Describe what msgspec has no schema for: paths alone."""
    return {"type": "string", "format": "path"}


def _dataclasses(kind: Any) -> Iterator[type[Any]]:
    """List the dataclasses in a type, and those in theirs."""
    if isinstance(kind, type) and is_dataclass(kind):
        yield kind
        for part in get_type_hints(kind).values():
            yield from _dataclasses(part)
    for argument in get_args(kind):
        yield from _dataclasses(argument)
