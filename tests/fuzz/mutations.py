"""Messages that are almost right: made of sound ones, at one or several places."""

import random
from typing import Any, TypeAlias

import orjson

from dataflows.records import Record

Random: TypeAlias = random.Random

NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 1.0, -0.0, 1e308, -1e308, 5e-324, 0.1, 2**31, -(2**31), 2**53 - 1, 2**53, 2**63 - 1,
    2**63, 2**64 - 1, -(2**63), 1_700_000_000, 10**12, "", " ", "\x00", "\x00id", "a/b", "../..", "x" * 65, "x" * 257,
    "x" * 20_001, "\ud7ff", "\U0001f600", "é" * 255, "nan", "Infinity", "1", "%s%n", "trending/all/0", [], [None],
    [[]], {}, {"": ""}, {"a": {"b": []}}, [0] * 70, ["i-1"] * 1_001,
]  # fmt: skip
"""What stands in place of a field."""
BIG = (b"1" + b"0" * 30, b"1" + b"0" * 400, b"-1e400", b"NaN", b"[" * 3_000 + b"]" * 3_000, b'"\\udc00"', b"\xff")
"""The same, of what JSON has no value for: written into the text."""
TIMES = (-1, 0, 1, 1_700_000_000, 2**53 - 1, 2**53, 2**63 - 1)


def mutated(record: Record, rng: Random) -> Record:
    """Change a record at random: its fields, its bytes, its key or its time. Three in ten stay as they are."""
    for _ in range(rng.choice((0, 0, 0, 1, 1, 1, 1, 2, 2, 4))):
        record = rng.choice((_field, _field, _field, _field, _text, _bytes, _key, _time))(record, rng)
    return record


def _field(record: Record, rng: Random) -> Record:
    try:
        message = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        return _bytes(record, rng)
    places = list(_places(message))
    if not places:
        return record
    holder, name = rng.choice(places)
    rng.choice((_replace, _replace, _replace, _swap, _remove))(holder, name, rng)
    try:
        return record._replace(value=orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS))
    except (orjson.JSONEncodeError, RecursionError):
        return record


def _places(message: Any) -> Any:
    """Name every place of a message: what holds it, and under which name or number."""
    names = message if isinstance(message, dict) else range(len(message)) if isinstance(message, list) else ()
    for name in list(names):
        yield message, name
        yield from _places(message[name])


def _replace(holder: Any, name: Any, rng: Random) -> None:
    holder[name] = rng.choice(NASTY)


def _swap(holder: Any, name: Any, rng: Random) -> None:
    other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[name], holder[other] = holder[other], holder[name]


def _remove(holder: Any, name: Any, rng: Random) -> None:
    if isinstance(holder, list) and rng.random() < 0.5:
        holder.append(holder[name])
    else:
        del holder[name]


def _text(record: Record, rng: Random) -> Record:
    """Put what no value stands for after some colon."""
    parts = (record.value or b"").split(b":")
    if len(parts) < 2:
        return _bytes(record, rng)
    place = rng.randrange(1, len(parts))
    rest = parts[place].find(b",")
    parts[place] = rng.choice(BIG) + (parts[place][rest:] if rest >= 0 else b"}")
    return record._replace(value=b":".join(parts))


def _bytes(record: Record, rng: Random) -> Record:
    value = bytearray(record.value or b"")
    at = rng.randrange(len(value) + 1)
    kind = rng.randrange(6)
    if kind == 0:
        return record._replace(value=None)
    if kind == 1:
        del value[at:]
    elif kind == 2:
        value[at:at] = rng.randbytes(rng.choice((1, 8, 64)))
    elif kind == 3 and len(value) >= 8:
        # A word of a packed row.
        word = 8 * rng.randrange(len(value) // 8)
        number = rng.choice((0, 1, -1, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63), rng.getrandbits(62)))
        value[word : word + 8] = number.to_bytes(8, "little", signed=True)
    elif at < len(value):
        value[at] ^= 1 << rng.randrange(8)
    return record._replace(value=bytes(value))


KEYS = (
    None, b"", b"\xff", b"other", b"x" * 300, b"sessions/4194303", b"sessions/9", b"trending/all/0", b"neighbours/i-1",
    b"content/i-1", b"ranker/mlp/7/255", b"ranker/mlp",
)  # fmt: skip


def _key(record: Record, rng: Random) -> Record:
    key = record.key or b""
    return record._replace(key=rng.choice((*KEYS, key + b"/0", key[:-1], key + b"\x00")))


def _time(record: Record, rng: Random) -> Record:
    return record._replace(timestamp=rng.choice(TIMES))
