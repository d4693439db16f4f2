"""`eddy state`: look into the recovery stores of flows, and keep them small."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dataflows.cli.run import Flow
from dataflows.errors import EddyError
from dataflows.run import settings as configuration
from dataflows.run.runtime import store_folder
from dataflows.run.settings import Settings
from dataflows.store.contents import StepContents, contents_of, describe_user
from dataflows.store.files import StoreError, reading
from dataflows.store.rewrite import compact as compact_store

HELP = """
Look into the recovery store of a flow, and keep it small.

The store is the one that EDDY_RECOVERY__FOLDER says, on the machine of process 0. `inspect` may run beside the flow;
`compact` needs it stopped, and says so.
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
                found = describe_user(moment, user, settings)
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


def _store(flow: str) -> tuple[Settings, Path]:
    settings = configuration.load()
    folder = store_folder(settings, flow)
    if folder is None:
        raise EddyError("there is no recovery store: EDDY_RECOVERY__FOLDER says where one would be")
    return settings, folder
