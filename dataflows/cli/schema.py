"""`eddy schema`: the messages as JSON Schemas and an AsyncAPI document, and the schema of `eddy.yaml`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dataflows.contract import ASYNCAPI, SCHEMAS, asyncapi, breaking, described_topics, documents
from dataflows.errors import EddyError
from dataflows.run.setting_schema import setting_schema

CONTRACT = Path("deploy/contract")
"""Where this project keeps its own, as others may."""


def schema(
    folder: Annotated[
        Path | None, typer.Argument(help="Where the files are; none prints the AsyncAPI document.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Write nothing: compare what is in the folder, deploy/contract unless another is named, with this "
            "release's messages.",
        ),
    ] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="Print the schema of eddy.yaml, for editors, instead.")
    ] = False,
) -> None:
    """Write JSON Schemas of the messages and of eddy.yaml, and an AsyncAPI 3 document, or compare them.

    With --check the exit code is 1 where a reader or a writer that relies on the files in the folder would stumble over
    this release; what was only added is named, and is no fault.

    With --settings the JSON Schema of `eddy.yaml` is printed instead: write it to a file, and name that in the first
    line of `eddy.yaml`, as in `# yaml-language-server: $schema=eddy.schema.json`.
    """
    if settings:
        if folder is not None or check:
            raise typer.BadParameter("--settings prints a schema: name no folder, and nothing is compared with it")
        typer.echo(json.dumps(setting_schema(), indent=2))
        return
    if folder is None and check:
        if not CONTRACT.is_dir():
            raise typer.BadParameter(f"--check compares with files, and there is no {CONTRACT} here: name their folder")
        folder = CONTRACT
    if folder is None:
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
    new = {name: text for name, text in documents().items() if name != ASYNCAPI}
    old = {f"{SCHEMAS}/{path.name}": _read(path) for path in sorted((folder / SCHEMAS).glob("*.json"))}
    if not old:
        raise EddyError(f"{folder / SCHEMAS}: no schemas in it; `eddy schema {folder}` writes them")
    written_by = {f"{SCHEMAS}/{topic.value}.json": topic.written_by for topic in described_topics()}
    told = [(name, "is new") for name in new.keys() - old.keys()]
    breaks = [(name, "is gone") for name in old.keys() - new.keys()]
    for name in sorted(old.keys() & new.keys()):
        was, is_now = old[name], json.loads(new[name])
        found = _breaks(folder / name, was, is_now, is_read=written_by[name] == "platform")
        breaks += [(name, each) for each in found]
        if was != is_now and not found:
            told.append((name, "something was added, or is described in other words"))
    breaks += [(ASYNCAPI, each) for each in _moved(_read(folder / ASYNCAPI), asyncapi())]
    for name, each in sorted(told) + sorted(breaks):
        typer.echo(f"{Path(name).stem}: {each}")
    if breaks:
        raise EddyError(f"{folder}: {len(breaks)} of what it says does not hold in this release")
    typer.echo(f"{folder}: all that it says holds in this release")


def _breaks(path: Path, old: dict[str, Any], new: dict[str, Any], *, is_read: bool) -> list[str]:
    try:
        return breaking(old, new, is_read=is_read)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EddyError(f"{path} is no schema of ours: {error!r}") from error


def _moved(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say which topics are gone."""
    return [f"the topic {name} is gone" for name in sorted(old.get("channels", {}).keys() - new["channels"].keys())]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        remedy = f"`eddy schema {path.parent}` writes it"
        raise EddyError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise EddyError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise EddyError(f"{path} is no schema: it is no object")
    return found
