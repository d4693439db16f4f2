"""Copies of a store as of one moment, made while its flow runs, and put back in its place."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec

from dataflows.store.files import TAKEN, StoreError, explained, holding, partition_files, reading

MANIFEST = "backup.json"
UNFINISHED = "restore-unfinished"
"""Lies in a store's folder while a backup is put in its place: no flow starts beside it."""
REPLACED = "replaced"
"""Where what a restore replaces is kept, in the store's folder; the newest has the highest number."""

Report = Callable[[str], object]
"""Is told what is done."""


class Manifest(msgspec.Struct):
    """What a backup consists of."""

    store: str
    """The name of the store's folder: its flow's."""
    made_at: str
    release: str
    resume_epoch: int
    files: dict[str, str]
    """SHA-256 by name."""


class BackedUp(NamedTuple):
    """What a backup came to."""

    bytes: int
    resume_epoch: int


def back_up(folder: Path, target: Path, report: Report) -> BackedUp:
    """Copy a store as of the end of one epoch, whether its flow runs or not.

    The flow goes on meanwhile; what it writes waits in write-ahead logs, which grow by that much.

    Parameters
    ----------
    target : the folder to make; it must not be there.

    Raises
    ------
    StoreError : there is no store, it is damaged, the target is there, or its disk is full.
    """
    if target.exists():
        raise StoreError(f"{target} is there already: name a folder that this backup is to make")
    work = target.with_name(f"{target.name}.unfinished")
    with reading(folder) as moment, explained(target):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, mode=0o700)
        hashes = {}
        for number, (path, file) in enumerate(zip(partition_files(folder), moment.files, strict=True), 1):
            report(f"copying file {number} of {len(moment.files)}")
            copied = work / path.name
            with closing(sqlite3.connect(copied)) as copy:
                file.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
            hashes[path.name] = _digest(copied)
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(folder.name, made_at, version("eddy-recs"), moment.resume_epoch, hashes)
        (work / MANIFEST).write_text(json.dumps(msgspec.to_builtins(manifest), indent=2) + "\n")
        sync(work)
        work.rename(target)
        return BackedUp(sum(path.stat().st_size for path in target.iterdir()), moment.resume_epoch)


def restore(backup: Path, folder: Path, report: Report) -> Manifest:
    """Put a backup in a store's place; what it replaces is kept in a folder beside it.

    Cut off at any point, no flow starts on the folder until the same command has ended.

    Raises
    ------
    StoreError : the backup is incomplete, damaged or of another flow, or a flow is using the store.
    """
    manifest = _checked(backup, folder, report)
    marker = folder / UNFINISHED
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not marker.exists() and partition_files(folder):
            with holding(folder, whole=False):
                marker.touch()
        marker.touch()
        for left in folder.glob(f"{TAKEN}*"):
            shutil.rmtree(left)
        old = [path for path in folder.iterdir() if ".sqlite3" in path.name]
        if old:
            report("moving the former store away")
            kept = folder / f"{REPLACED}-{1 + sum(path.name.startswith(REPLACED) for path in folder.iterdir())}"
            kept.mkdir(mode=0o700)
            for path in old:
                path.rename(kept / path.name)
        for number, name in enumerate(manifest.files, 1):
            report(f"copying file {number} of {len(manifest.files)}")
            shutil.copyfile(backup / name, folder / name)
        sync(folder)
        marker.unlink()
        sync(folder)
    return manifest


def refuse_unfinished(folder: Path) -> None:
    """Keep a flow from starting on a folder into which a backup was put only partly.

    Raises
    ------
    StoreError : it was.
    """
    if (folder / UNFINISHED).exists():
        raise StoreError(f"{folder}: a restore was cut off: start the same `eddy state restore` again")


def _checked(backup: Path, folder: Path, report: Report) -> Manifest:
    """Read what a backup consists of, and compare it with what is there."""
    try:
        manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise StoreError(f"{backup}: no backup: it has no {MANIFEST}, which is written last") from None
    except msgspec.MsgspecError as error:
        raise StoreError(f"{backup / MANIFEST}: damaged: {error}") from None
    if manifest.store != folder.name:
        raise StoreError(f"{backup}: a backup of the flow {manifest.store}, not of {folder.name}")
    for number, (name, digest) in enumerate(manifest.files.items(), 1):
        report(f"comparing file {number} of {len(manifest.files)}")
        path = backup / name
        if Path(name).name != name or not path.is_file() or _digest(path) != digest:
            raise StoreError(f"{path}: missing, or not what was backed up: use another backup")
    return manifest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(folder: Path) -> None:
    """Have all files of a folder, and their names, on the disk."""
    for path in (*(path for path in folder.iterdir() if path.is_file()), folder):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
