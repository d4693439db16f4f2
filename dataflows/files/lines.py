"""Files of JSON lines, a message a line: how a line is read and written.

A removed key is the line `{"key":"...","deleted":true}`. Messages that are no text, such as the rows of
`model-updates`, are packed into lines `{"key":"...","value":"<base64>"}`.
"""

import binascii
import gzip
import io
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from dataflows.errors import EddyError
from dataflows.records import Outgoing

ENDINGS = (".jsonl", ".jsonl.gz")
LEVEL = 4
"""Of compression: quick rather than small."""


class FileError(EddyError):
    """A file is missing, unreadable, or holds a line that cannot be used; the text says which, and why."""


def open_lines(path: Path) -> BinaryIO:
    """Open a file for reading lines, uncompressed."""
    if path.suffix == ".gz":
        # A gzip file on its own decodes each line in Python.
        return cast("BinaryIO", io.BufferedReader(gzip.open(path), 1 << 16))
    return path.open("rb")


def read_lines(path: Path) -> Iterator[bytes]:
    """Give the lines of a `.jsonl` or `.jsonl.gz` file without their ends, blank ones too, so that they can be counted.

    Raises
    ------
    FileError : the file is missing, of another kind, or not a whole gzip file.
    """
    if not path.name.endswith(ENDINGS):
        raise FileError(
            f"{path}: only {' and '.join(ENDINGS)} files can be read, a message a line; `eddy import` makes one of "
            "CSV, Parquet, MovieLens, RecBole, GA4, Segment and Snowplow"
        )
    try:
        with open_lines(path) as lines:
            for line in lines:
                yield line.rstrip(b"\r\n")
    except (EOFError, gzip.BadGzipFile) as error:
        raise FileError(f"{path} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error


def write_lines(lines: Iterable[bytes], path: Path) -> None:
    """Write lines, given without their ends, to a `.jsonl` or `.jsonl.gz` file, which is there once all are written.

    The same lines give the same bytes.

    Raises
    ------
    FileError : the file cannot be written. Nothing is left of it, nor after an error of whoever gives the lines.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as plain, _packed(plain, path) as file:
            for line in lines:
                file.write(line + b"\n")
        unfinished.replace(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _packed(plain: BinaryIO, path: Path) -> BinaryIO:
    if path.suffix != ".gz":
        return plain
    zipped = gzip.GzipFile("", "wb", compresslevel=LEVEL, fileobj=plain, mtime=0)
    return cast("BinaryIO", io.BufferedWriter(cast("io.RawIOBase", zipped), 1 << 16))


def read_line(line: bytes) -> tuple[bytes | None, bytes | None]:
    """Split a line into key and value: a message has no key here, a removed key has no value."""
    value = line.rstrip(b"\r\n")
    if b'"deleted"' not in value:
        return None, value
    try:
        row = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None, value
    match row:
        case {"key": str(key), "deleted": True} if len(row) == 2:
            return key.encode(), None
    return None, value


def write_line(message: Outgoing) -> bytes:
    """Return the line of one message."""
    if message.value is None:
        return orjson.dumps({"key": message.key, "deleted": True}, option=orjson.OPT_APPEND_NEWLINE)
    return message.value + b"\n"


def unpack_line(line: bytes) -> tuple[bytes, bytes | None]:
    """Split a packed line into key and value.

    Raises
    ------
    ValueError : it is none.
    """
    match orjson.loads(line):
        case {"key": str(key), "deleted": True}:
            return key.encode(), None
        case {"key": str(key), "value": str(value)}:
            try:
                return key.encode(), b64decode(value, validate=True)
            except binascii.Error as error:
                raise ValueError(f"the value of {key} is not base64: {error}") from error
    raise ValueError("it has no text in key and value")


def pack_line(message: Outgoing) -> bytes:
    """Return the packed line of one message: any bytes, and the key with them."""
    if message.value is None:
        return write_line(message)
    packed = {"key": message.key, "value": b64encode(message.value).decode()}
    return orjson.dumps(packed, option=orjson.OPT_APPEND_NEWLINE)
