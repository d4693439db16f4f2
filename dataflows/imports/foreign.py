"""Files of events and of items, whichever form they are in: Eddy's own lines as they are, others converted on the way.

It needs polars only where a file is of another form.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from dataflows.errors import EddyError
from dataflows.files.lines import read_lines
from dataflows.imports.column_map import TableOptions
from dataflows.imports.detection import TITLES, detect
from dataflows.imports.skipped import Skipped
from dataflows.run.settings import EventSettings

logger = logging.getLogger(__name__)

AS_THEY_ARE = TableOptions()


def event_lines(path: Path, settings: EventSettings) -> Iterator[bytes]:
    """Give a file's events, a JSON line each; of another form than Eddy's, in time order.

    Raises
    ------
    FileError : the file cannot be read.
    EddyError : it is of another form, and polars is not installed, or it needs `eddy import` with a map of columns.
    """
    if (form := detect(path)) is None:
        yield from read_lines(path)
        return
    convert, lines = converter()
    skipped = Skipped()
    read = [convert.read_events(path, form, AS_THEY_ARE, _nobody)]
    yield from lines.event_lines(convert.usable_events(read, AS_THEY_ARE, skipped), settings, skipped)
    _tell(path, TITLES[form], skipped)


def item_lines(path: Path, settings: EventSettings) -> Iterator[bytes]:
    """Give a catalog's items, a JSON line each; raises as `event_lines`."""
    if (form := detect(path)) is None:
        yield from read_lines(path)
        return
    convert, lines = converter()
    skipped = Skipped()
    read = [convert.read_items(path, form, AS_THEY_ARE, _nobody)]
    yield from lines.item_lines(convert.usable_items(read, skipped), settings, skipped)
    _tell(path, TITLES[form], skipped)


def converter() -> tuple[ModuleType, ModuleType]:
    """Return the modules `convert` and `lines`, which need polars.

    Raises
    ------
    EddyError : it is not installed.
    """
    try:
        from dataflows.imports import convert, lines  # noqa: PLC0415  polars is an extra
    except ImportError as error:
        raise EddyError(
            "other forms than JSON lines need the extra `import`: pip install 'eddy-recs[import]'"
        ) from error
    return convert, lines


def _nobody(_n_lines: int) -> None:
    """Report nothing: whoever reads shows that it reads."""


def _tell(path: Path, title: str, skipped: Skipped) -> None:
    if skipped.n:
        [(reason, n)] = skipped.counts.most_common(1)
        logger.warning(
            "%s (%s): %s rows are left out, %s of them for: %s; `eddy import` lists all reasons",
            path, title, f"{skipped.n:,}", f"{n:,}", reason,
        )  # fmt: skip
