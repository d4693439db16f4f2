"""Looks whether files can be written before the work whose result they are to hold."""

import os
from pathlib import Path

from dataflows.files.lines import FileError


def require_writable(*paths: Path | None) -> None:
    """Look whether files can be made, or written over, so that hours of work do not end in an error.

    Raises
    ------
    FileError : one cannot; the text says why.
    """
    for path in paths:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise FileError(f"{path} cannot be written: there is no folder {path.parent}: make it first")
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise FileError(f"{path} cannot be written: {'it is a folder' if path.is_dir() else 'it may not be'}")
