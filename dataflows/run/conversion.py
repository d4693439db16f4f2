"""Plain values as the core's own types: what is wrong is named with its path and a remedy."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from types import NoneType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from models.experiments.assign.declaration import DeclarationError, Step

SettingFault: TypeAlias = tuple[tuple[Step, ...], str | None]
"""The path of a setting, its section first, and what is wrong with it; None: nobody knows it."""

_TRUTH = dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True) | dict.fromkeys(
    ("false", "f", "no", "n", "off", "0"), False
)
"""Words for truth values, as pydantic has them for the settings that are its own."""


class SectionError(ValueError):
    """Some settings of a section are wrong."""

    def __init__(self, faults: Sequence[SettingFault]) -> None:
        super().__init__("; ".join(f"{name_of(path)}{text}" for path, text in faults))
        self.faults = tuple(faults)


def check(data: object, kind: Any, path: tuple[Step, ...] = (), *, strict: bool = True) -> None:
    """Look whether plain values make a `kind`, as `msgspec.convert` takes them.

    Parameters
    ----------
    path : of `data` in what it was read from.
    strict : False takes text for the numbers and truth values that it spells.

    Raises
    ------
    DeclarationError : with the path of the part at fault.
    """
    # The parts come first: what they let pass and still fails is at fault itself, so its path is exact.
    for step, part, part_kind in _parts(data, kind, path):
        check(part, part_kind, (*path, step), strict=strict)
    try:
        msgspec.convert(data, kind, strict=strict)
    except msgspec.ValidationError as error:
        rule = error.__cause__
        if isinstance(rule, ValueError):
            raise DeclarationError(str(rule), (*path, *getattr(rule, "path", ()))) from None
        raise DeclarationError(_with_remedy(str(error), data, kind), path) from None


def convert_text(value: object, kind: Any) -> object:
    """Convert a value of the environment, which is text: JSON where the text itself is no such value.

    Raises
    ------
    DeclarationError : the value is wrong.
    """
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        if isinstance(value, str):
            value = _read_text(value, _bare(kind))
        check(value, kind, strict=False)
        return msgspec.convert(value, kind, strict=False)


def convert_section(section: str, kind: Any, given: Mapping[str, Any]) -> Any:
    """Make a section of the settings that is a dataclass, `kind`, from values by name, which may be text.

    Raises
    ------
    SectionError : with all faults.
    """
    kinds, values = get_type_hints(kind, include_extras=True), {}
    wrong: list[SettingFault] = []
    for name, value in given.items():
        if name not in kinds:
            wrong.append(((section, name), None))
            continue
        try:
            values[name] = convert_text(value, kinds[name])
        except DeclarationError as error:
            wrong.append(((section, name, *error.path), str(error)))
    if wrong:
        raise SectionError(wrong)
    try:
        return kind(**values)
    except ValueError as error:
        raise SectionError([((section, *getattr(error, "path", ())), str(error))]) from None


def _read_text(text: str, kind: Any) -> object:
    """Read what people write as a number, a truth value or JSON, and msgspec does not take: ` 007`, `1_000`, `yes`.

    What is none of these is returned as it is.
    """
    if kind is bool:
        return _TRUTH.get(text.strip().lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    if text.startswith(("{", "[")):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise DeclarationError(f"{error}: give it as JSON") from None
    return text


def name_of(path: tuple[Step, ...]) -> str:
    """Write a path as it is written in code, `experiments[0].name: `; nothing for an empty one."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return f"{name}: " if name else ""


def suggest(word: object, known: Iterable[str]) -> str:
    """Name the known word that is nearest to one that is unknown; where none is near, all of them."""
    known = list(known)
    close = get_close_matches(str(word), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _parts(data: object, kind: Any, path: tuple[Step, ...]) -> list[tuple[Step, object, Any]]:
    """List the parts of a value with their declared types, refusing keys that are not declared."""
    kind = _bare(kind)
    if isinstance(data, list) and get_origin(kind) in (list, tuple):
        return [(index, part, get_args(kind)[0]) for index, part in enumerate(data)]
    if not isinstance(data, dict):
        return []
    known: dict[str, Any]
    if is_dataclass(kind):
        known = get_type_hints(kind, include_extras=True)
    elif get_origin(kind) is dict:
        key_kind, value_kind = get_args(kind)
        known = dict.fromkeys(get_args(key_kind) if get_origin(key_kind) is Literal else data, value_kind)
    else:
        return []
    for key in data:
        if key not in known:
            raise DeclarationError(f"unknown key: {suggest(key, known)}", (*path, key))
    return [(key, part, known[key]) for key, part in data.items()]


def _bare(kind: Any) -> Any:
    """Take away `Annotated` and `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    required = [option for option in get_args(kind) if option is not NoneType]
    return _bare(required[0]) if NoneType in get_args(kind) and len(required) == 1 else kind


def _with_remedy(text: str, data: object, kind: Any) -> str:
    if data is None:
        return f"{text}: give it a value or leave the key out"
    if text.startswith("Object missing"):
        return f"{text}: add it"
    if text.startswith("Expected `str`, got"):
        return f"{text} ({reprlib.repr(data)}): put it in quotes"
    if get_origin(_bare(kind)) is Literal:
        return f"{text}: {suggest(data, get_args(_bare(kind)))}"
    remedy = "change the value"
    if text.startswith("Expected `bool`"):
        remedy = "say true or false"
    elif isinstance(data, str) and text.startswith(("Expected `array", "Expected `object")):
        remedy = "give it as JSON"
    return f"{text}, not {reprlib.repr(data)}: {remedy}"
