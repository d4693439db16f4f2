"""`eddy import`: files of other forms as Eddy's events and catalog."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from dataflows.cli.import_summary import EventCounts, Lines, show_columns, show_events, show_skipped
from dataflows.cli.progress import walking
from dataflows.errors import EddyError
from dataflows.files.lines import ENDINGS, write_lines
from dataflows.imports.column_map import EVENT_FIELDS, ITEM_FIELDS, TableOptions, parse_columns
from dataflows.imports.detection import FORMATS, TITLES, FormatName, detect
from dataflows.imports.foreign import converter
from dataflows.imports.skipped import Skipped
from dataflows.run import settings as configuration

F = TypeVar("F")
COUNTED_AT_ONCE = 1_000

File: TypeAlias = Path | None
Files = Annotated[
    list[Path] | None,
    typer.Argument(help="What happened: files of one form or of several, also compressed (.gz).", show_default=False),
]
Out = Annotated[
    File, typer.Option(help="The events, .jsonl or .jsonl.gz, in time order.", show_default=False, dir_okay=False)
]
Catalogs = Annotated[
    list[Path] | None,
    typer.Option(
        "--catalog", help="Items: movies.csv, .item, or a table of yours; may be repeated.", show_default=False
    ),
]
CatalogOut = Annotated[
    File,
    typer.Option(
        help="The catalog, .jsonl or .jsonl.gz: of --catalog, and of what logs say of their items.",
        show_default=False,
        dir_okay=False,
    ),
]
Form = Annotated[
    FormatName | None, typer.Option("--format", help="The form of the files.", show_default="by their content")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="FIELD=COLUMN of a table of events: user_id=visitor, timestamp=ts:ms (s, ms, us, ns, iso), "
        "context.device=ua; may be repeated.",
        show_default="columns of usual names",
    ),
]
ItemColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--map-item",
        help="FIELD=COLUMN of a table of items: title=name, categories=path:/ (what separates them), "
        "attributes.colour=col; may be repeated.",
        show_default="columns of usual names",
    ),
]
EventType = Annotated[
    str | None,
    typer.Option(help="The type of table rows without one.", show_default="rating with a value, click without"),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(help="THEIRS=OURS, an event type: addtocart=cart; may be repeated.", show_default=False),
]


def import_files(
    files: Files = None,
    out: Out = None,
    catalog: Catalogs = None,
    catalog_out: CatalogOut = None,
    form: Form = None,
    columns: Columns = None,
    item_columns: ItemColumns = None,
    event_type: EventType = None,
    rename: Rename = None,
) -> None:
    """Make events and a catalog of MovieLens, RecBole, CSV, Parquet, GA4, Segment and Snowplow files.

    What is written is what every command reads: events in time order, each with an id that follows from what it says,
    so that the same files give the same bytes. Rows that make no event or item are left out, and counted by
    the reason. All of the events are held in memory at once.

    `eddy train`, `eddy tune`, `eddy backtest` and `eddy replay` also take such files as they are, where no column has
    to be mapped.

    eddy import ratings.csv --catalog movies.csv --out events.jsonl.gz --catalog-out catalog.jsonl.gz

    eddy import shop.csv --map user_id=visitor --map timestamp=ts:s --rename addtocart=cart --out events.jsonl.gz

    eddy import ga4-*.json.gz --out events.jsonl.gz --catalog-out catalog.jsonl.gz
    """
    paths, catalogs = list(files or []), list(catalog or [])
    _check(paths, out, catalogs, catalog_out)
    options = TableOptions(
        parse_columns(columns or [], EVENT_FIELDS),
        parse_columns(item_columns or [], ITEM_FIELDS),
        event_type,
        _renamed(rename or []),
    )
    convert, lines = converter()
    events_settings, console, skipped = configuration.load().events, Console(stderr=True), Skipped()
    with walking(console) as bar:
        of_events = [_read(convert.read_events, path, form or _form_of(path), options, bar) for path in paths]
        of_items = [_read(convert.read_items, path, _form_of(path), options, bar) for path in catalogs]
        events, items = EventCounts(), Lines()
        if out is not None:
            usable = convert.usable_events(of_events, options, skipped)
            written = lines.event_lines(usable, events_settings, skipped)
            watched = _watched(written, events.add, bar, "writing events", usable.height)
            with suppress(_NothingUsableError):
                write_lines(_some(watched), out)
        if catalog_out is not None:
            usable = convert.usable_items([*of_events, *of_items], skipped)
            written = lines.item_lines(usable, events_settings, skipped)
            write_lines(_watched(written, items.add, bar, "writing items", usable.height), catalog_out)
    for path, frames in zip([*paths, *catalogs], [*of_events, *of_items], strict=True):
        show_columns(path, frames.columns, console)
    show_skipped(skipped, console)
    if out is not None:
        show_events(events, out, console)
    if catalog_out is not None:
        console.print(f"{items.n:,} items in {catalog_out}", highlight=False, markup=False, soft_wrap=True)
    if out is not None and not events.n:
        why = "the reasons are above" if skipped.n else "they have no rows"
        names = ", ".join(map(str, paths))
        raise EddyError(f"none of {names} holds an event that can be used: {why}. {out} is as it was")


def _check(paths: list[Path], out: Path | None, catalogs: list[Path], catalog_out: Path | None) -> None:
    if not paths and not catalogs:
        raise typer.BadParameter("name a file of events, or one of items by --catalog")
    if paths and out is None:
        raise typer.BadParameter("say by --out where the events go: events.jsonl or events.jsonl.gz")
    if out is not None and not paths:
        raise typer.BadParameter("--out is for events: name a file of them")
    if catalogs and catalog_out is None:
        raise typer.BadParameter("say by --catalog-out where the catalog goes: catalog.jsonl or catalog.jsonl.gz")
    for option, path in (("--out", out), ("--catalog-out", catalog_out)):
        if path is not None and not path.name.endswith(ENDINGS):
            raise typer.BadParameter(f"{option}: {path} has to end in {' or '.join(ENDINGS)}")
        if path is not None and path in (*paths, *catalogs):
            raise typer.BadParameter(f"{option}: {path} is read, so write to another file")


def _form_of(path: Path) -> FormatName:
    if (form := detect(path)) is not None:
        return form
    raise EddyError(
        f"{path} is in no form that is known, or in Eddy's own, which needs no import; "
        f"name the form by --format: {', '.join(FORMATS)}"
    )


def _renamed(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (theirs, _, ours) in zip(texts, pairs, strict=True) if not theirs or not ours]:
        raise typer.BadParameter(f"--rename {wrong[0]}: say THEIRS=OURS, as in addtocart=cart")
    return {theirs: ours for theirs, _, ours in pairs}


def _read(read: Callable[..., F], path: Path, form: FormatName, options: TableOptions, bar: Progress) -> F:
    what = f"reading {path.name} ({TITLES[form]})"
    task, n_lines = bar.add_task(what, total=None), 0

    def report(n: int) -> None:
        nonlocal n_lines
        n_lines += n
        bar.update(task, description=f"{what}, {n_lines:,} lines")

    found = read(path, form, options, report)
    bar.update(task, total=1, completed=1)
    return found


class _NothingUsableError(Exception):
    """There is no line to write."""


def _some(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Give lines on; raises where there is none, or what stood in the file would be lost."""
    first = next(lines, None)
    if first is None:
        raise _NothingUsableError
    yield first
    yield from lines


def _watched(
    lines: Iterator[bytes], count: Callable[[bytes], None], bar: Progress, what: str, n: int
) -> Iterator[bytes]:
    """Count lines on their way, and move the bar."""
    task = bar.add_task(what, total=n)
    for number, line in enumerate(lines, 1):
        count(line)
        if number % COUNTED_AT_ONCE == 0:
            bar.update(task, completed=number)
        yield line
    bar.update(task, completed=n)
