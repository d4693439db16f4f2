"""What each message holds, from the schemas that decoders and encoders go by."""

from typing import Any

from tables import code, table

from dataflows.contract import schemas


def messages() -> str:
    """Write the fields of each message, from the schemas that decoders and encoders go by."""
    text = (
        "# Messages\n\nA reader ignores fields that it does not know. `eddy schema FOLDER` writes the same as JSON "
        "Schemas and one AsyncAPI document; `eddy schema FOLDER --check` says what a release does not keep.\n"
    )
    for name, schema in schemas().items():
        text += f"\n## {name}\n\n{_fields(schema)}"
        for part, found in schema.get("$defs", {}).items():
            text += f"\n### {part} in {name}\n\n{_fields(found)}"
    return text


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (f"`{name}`", _kind(of), "yes" if name in required else code(_default(of)), of.get("description", ""))
        for name, of in schema.get("properties", {}).items()
    ]
    return f"{schema.get('description', '')}\n\n{table(('field', 'type', 'required, or default', 'meaning'), rows)}"


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def _kind(schema: dict[str, Any]) -> str:
    """Write a type with its bounds."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(option) for option in schema["anyOf"]))
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if "prefixItems" in schema:
        return f"({', '.join(map(_kind, schema['prefixItems']))})"
    if kind == "array" and "items" in schema:
        kind = f"list of {_kind(schema['items'])}"
    if "additionalProperties" in schema:
        kind = f"object of {_kind(schema['additionalProperties'])}"
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: dict[str, Any]) -> str:
    low, high = (
        next((str(schema[name]) for name in names if name in schema), "")
        for names in (
            ("minimum", "minLength", "minItems", "exclusiveMinimum"),
            ("maximum", "maxLength", "maxItems", "exclusiveMaximum"),
        )
    )
    if low and high:
        return f" ({low} to {high})"
    return f" (from {low})" if low else f" (up to {high})" if high else ""
