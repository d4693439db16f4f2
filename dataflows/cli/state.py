"""`eddy state`: look into the recovery stores of flows, keep them small, back them up."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dataflows.cli.run import Flow
from dataflows.errors import EddyError
from dataflows.run import settings as configuration
from dataflows.run.recovery_store import store_folder
from dataflows.run.resources import state_keys
from dataflows.run.settings import Settings
from dataflows.store.backup import REPLACED, back_up
from dataflows.store.backup import restore as restore_store
from dataflows.store.contents import StepContents, contents_of, describe_user
from dataflows.store.files import StoreError, reading
from dataflows.store.persons import rotate as rotate_keys
from dataflows.store.rewrite import compact as compact_store

HELP = """
Look into the recovery store of a flow, keep it small, back it up and put a backup back.

The store is the one that EDDY_RECOVERY__FOLDER says, on the machine of process 0. `inspect` and
`backup` may run beside the flow; `compact`, `rotate` and `restore` need it stopped, and say so.
"""

app = typer.Typer(name="state", help=HELP, no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("inspect")
def inspect(
    flow: Flow,
    user: Annotated[str | None, typer.Option(help="Show what is kept of this user instead.")] = None,
    as_json: Json = False,
) -> None:
    """Count what the store holds, by step: keys, bytes, newest epoch, formats and, as hashes, the largest keys.

    `--user` shows what is kept of one user as JSON. Items and attributes are kept as hashes alone.
    """
    settings, folder = _store(flow)
    with reading(folder) as moment:
        if user is not None:
            try:
                found = describe_user(moment, state_keys(settings)(user), settings)
            except ValueError as error:
                raise StoreError(f"{folder}: what is kept of this user cannot be read: {error}") from error
            if not found:
                raise EddyError(f"{folder}: nothing is kept of this user")
            typer.echo(json.dumps(found, indent=2))
            return
        steps = contents_of(moment)
        if as_json:
            typer.echo(json.dumps({"resumes_from_epoch": moment.resume_epoch, "steps": _as_values(steps)}, indent=2))
            return
        Console().print(_table(folder, moment.resume_epoch, steps))


def _as_values(steps: dict[str, StepContents]) -> dict[str, Any]:
    return {
        name: {
            "keys": step.keys,
            "bytes": step.bytes,
            "newest_epoch": step.newest_epoch,
            "superseded_rows": step.superseded,
            "formats": dict(step.formats),
            "largest": [{"key_hash": name, "bytes": size} for size, name in step.largest],
        }
        for name, step in steps.items()
    }


def _table(folder: Path, resume_epoch: int, steps: dict[str, StepContents]) -> Table:
    table = Table("step", title=f"{folder}: resumes from epoch {resume_epoch}")
    for heading in ("keys", "bytes", "newest epoch", "superseded rows"):
        table.add_column(heading, justify="right")
    for heading in ("formats", "largest keys, by hash"):
        table.add_column(heading, overflow="fold")
    for name, step in steps.items():
        table.add_row(
            name,
            f"{step.keys:,}",
            f"{step.bytes:,}",
            str(step.newest_epoch),
            f"{step.superseded:,}",
            ", ".join(f"{form}: {n:,}" for form, n in step.formats.most_common()),
            ", ".join(f"{key} ({size:,})" for size, key in step.largest),
        )
    return table


@app.command("compact")
def compact(flow: Flow) -> None:
    """Drop rows that no resume looks at, overwrite them, and give the room back; the flow must be stopped."""
    _, folder = _store(flow)
    console = Console(stderr=True)
    with console.status("opening the store") as status:
        done = compact_store(folder, status.update)
    console.print(
        f"{folder}: {done.bytes_before:,} bytes before, {done.bytes_after:,} after; "
        f"{done.dropped:,} rows dropped, {done.kept:,} kept",
        highlight=False,
    )


@app.command("rotate")
def rotate(flow: Flow) -> None:
    """Give what is kept of users the keys that a secret added to EDDY_PRIVACY__SECRETS makes; the flow must be stopped.

    Profiles are kept, though nobody knows whose they are. All flows need it, each on its own store.
    """
    settings, folder = _store(flow)
    n = rotate_keys(folder, state_keys(settings))
    typer.echo(f"{folder}: {n:,} keys are made with {len(settings.privacy.secrets)} secrets now")


@app.command("backup")
def backup(flow: Flow, target: Annotated[Path, typer.Argument(help="A folder that this makes.")]) -> None:
    """Copy the store as of the end of one epoch, beside the running flow or without it.

    To resume from a backup, the topics must still hold the offsets at which it ends.
    """
    _, folder = _store(flow)
    console = Console(stderr=True)
    with console.status("waiting for the end of an epoch") as status:
        done = back_up(folder, target, status.update)
    console.print(f"{target}: {done.bytes:,} bytes; resumes from epoch {done.resume_epoch}", highlight=False)


@app.command("restore")
def restore(flow: Flow, source: Annotated[Path, typer.Argument(help="What `backup` has made.")]) -> None:
    """Put a backup in the store's place; the flow must be stopped, and what is replaced is kept beside it.

    The flow then repeats what it has done since, and leaves out what its topics hold of it already.
    """
    _, folder = _store(flow)
    console = Console(stderr=True)
    with console.status("comparing the backup with its list") as status:
        done = restore_store(source, folder, status.update)
    console.print(
        f"{folder}: as of {done.made_at}, resumes from epoch {done.resume_epoch}; what was there is in "
        f"{folder / REPLACED}-*, to be removed once all is well",
        highlight=False,
    )


def _store(flow: str) -> tuple[Settings, Path]:
    settings = configuration.load()
    folder = store_folder(settings, flow)
    if folder is None:
        raise EddyError("there is no recovery store: EDDY_RECOVERY__FOLDER says where one would be")
    return settings, folder
