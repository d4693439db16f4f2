"""Which form a file is in, by its name and its first line. It needs no polars."""

import gzip
import re
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import orjson

from dataflows.files.lines import ENDINGS, FileError, open_lines

FormatName: TypeAlias = Literal["movielens", "recbole", "ga4", "segment", "snowplow", "csv", "parquet"]
"""The forms that are read beside Eddy's own."""
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
TITLES: dict[FormatName, str] = {
    "movielens": "MovieLens",
    "recbole": "RecBole atomic file",
    "ga4": "Google Analytics 4 export",
    "segment": "Segment calls",
    "snowplow": "Snowplow enriched events",
    "csv": "CSV",
    "parquet": "Parquet",
}
"""What people call each form."""

MAX_FIRST_LINE = 1 << 20
SNOWPLOW_TABS = 130
"""Of the 131 fields of an enriched event."""

_MOVIELENS = re.compile(
    r"userId,movieId,rating,timestamp$|movieId,title,genres$"
    r"|\d+::\d+::[\d.]+::\d+$|\d+::.*::.*$"
    r"|\d+\t\d+\t[\d.]+\t\d{8,10}$|\d+\|.*\|(?:[01]\|){18}[01]$"
)
_TYPED = re.compile(r"\w+:(?:token|float)(?:_seq)?(?:\t\w+:(?:token|float)(?:_seq)?)*$")
"""A header of RecBole: a name and a type a column."""
_SEGMENT_CALLS = {"track", "page", "screen", "identify", "group", "alias"}
_SEPARATORS = ",\t;|"


def detect(path: Path) -> FormatName | None:
    """Say which form a file is in; None where it is Eddy's own, or of no form that is known.

    Raises
    ------
    FileError : the file cannot be read.
    """
    if path.name.endswith(".parquet"):
        return "parquet"
    line = first_line(path)
    if line.startswith("{") or path.name.endswith(ENDINGS):
        return _of_json(line)
    if line.count("\t") >= SNOWPLOW_TABS:
        return "snowplow"
    if _TYPED.match(line):
        return "recbole"
    if _MOVIELENS.match(line):
        return "movielens"
    return "csv" if any(separator in line for separator in _SEPARATORS) else None


def first_line(path: Path) -> str:
    """Read a file's first line without its end; of a `.gz` file, uncompressed.

    Raises
    ------
    FileError : the file cannot be read.
    """
    try:
        with open_lines(path) as lines:
            return lines.readline(MAX_FIRST_LINE).decode("utf-8-sig", "replace").rstrip("\r\n")
    except (EOFError, gzip.BadGzipFile) as error:
        raise FileError(f"{path} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error


def separator_of(header: str) -> str:
    """Say what separates the columns of a header: whichever of comma, tab, semicolon and bar is there most often."""
    return max(_SEPARATORS, key=header.count)


def _of_json(line: str) -> FormatName | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    keys = row.keys() if isinstance(row, dict) else set()
    if keys >= {"event_name", "event_timestamp"}:
        return "ga4"
    if keys >= {"event_id", "collector_tstamp"}:
        return "snowplow"
    if keys & {"type"} and row["type"] in _SEGMENT_CALLS and keys & {"userId", "anonymousId", "messageId"}:
        return "segment"
    return None
