"""`eddy schema`: the messages as JSON Schemas and an AsyncAPI document."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dataflows.contract import SCHEMAS, asyncapi, breaking, described_topics, documents
from dataflows.errors import EddyError


def schema(
    folder: Annotated[
        Path | None, typer.Argument(help="Where the files are; none prints the AsyncAPI document.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: compare what is in the folder with this release's messages.")
    ] = False,
) -> None:
    """Write a JSON Schema for each message and one AsyncAPI 3 document into a folder, or compare them.

    With --check the exit code is 1 where a reader or a writer that relies on the files in the folder would stumble over
    this release; what was only added is named, and is no fault.
    """
    if folder is None:
        if check:
            raise typer.BadParameter("--check compares with the files in a folder: name it")
        typer.echo(json.dumps(asyncapi(), indent=2))
        return
    if check:
        _compare(folder)
        return
    for name, text in documents().items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        except OSError as error:
            raise EddyError(f"{folder / name} cannot be written: {error.strerror}") from error
    typer.echo(f"{folder}: {len(documents())} files")


def _compare(folder: Path) -> None:
    new, found = documents(), 0
    for topic in described_topics():
        name = f"{SCHEMAS}/{topic.value}.json"
        old = _read(folder / name)
        if old == new[name]:
            continue
        breaks = breaking(json.loads(old), json.loads(new[name]), is_read=topic.written_by == "platform")
        found += len(breaks)
        for each in breaks:
            typer.echo(f"{topic.name}: {topic.value}: {each}")
        if not breaks:
            typer.echo(f"{topic.name}: {topic.value}: something was added, or is described in other words")
    if found:
        raise EddyError(f"{folder}: {found} of what it says does not hold in this release")
    typer.echo(f"{folder}: all that it says holds in this release")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise EddyError(
            f"{path} cannot be read: {error.strerror}; `eddy schema {path.parent.parent}` writes it"
        ) from error
