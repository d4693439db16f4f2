"""Docstrings for mkdocstrings: ours say `name : meaning`, since the signature has the type, where it expects a type."""

import re
from typing import Any

from griffe import Extension, Object

_ITEM = re.compile(r"(\w[\w, .]*?) : (\S.*)")
_ITEMISED = {"Parameters", "Raises"}


class Meanings(Extension):
    """Gives each docstring to the reader as `spelled_out` writes it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of an object that has one."""
        if obj.docstring is not None:
            obj.docstring.value = spelled_out(obj.docstring.value)


def spelled_out(text: str) -> str:
    """Put what a docstring says of parameters, errors and results below them, where no type can be meant."""
    lines = text.splitlines()
    written, section = [], ""
    for place, line in enumerate(lines):
        following = lines[place + 1] if place + 1 < len(lines) else ""
        if following and not following.strip("-"):
            section = line
        if section in _ITEMISED and (found := _ITEM.fullmatch(line)):
            written += [found[1], f"    {found[2]}"]
        elif section == "Returns" and line.strip("-") and line != section:
            written += ([":"] if written[-1].startswith("-") else []) + [f"    {line}"]
        else:
            written.append(line)
    return "\n".join(written)
