"""How a long-running command speaks: to a person on a terminal, or to what gathers logs, a line an entry."""

import logging
import traceback
from datetime import UTC, datetime
from typing import Literal

import orjson
from rich.console import Console
from rich.markup import render

LogFormat = Literal["text", "json"]

log = logging.getLogger(__name__)


def set_up_logs(level: str, form: LogFormat) -> None:
    """Let all that is logged go to standard error in one form."""
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else plain)
    logging.basicConfig(level=level.upper(), handlers=[handler])


class JsonLines(logging.Formatter):
    """Writes each entry as one line of JSON: when, level, logger, message, and the error with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, whatever the message holds."""
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["error"] = "".join(traceback.format_exception(*record.exc_info))
        # A name may hold half of a pair of UTF-16, which is no text.
        return orjson.dumps({name: text.encode(errors="replace").decode() for name, text in entry.items()}).decode()


def speaks_json() -> bool:
    """Say whether this process logs lines of JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def announce(text: str, form: LogFormat) -> None:
    """Say what a person who started the command wants to know.

    Parameters
    ----------
    text : in the markup of `rich`.
    """
    if form == "json":
        log.info("%s", render(text).plain)
    else:
        Console(stderr=True).print(text, highlight=False)
