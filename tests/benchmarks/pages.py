"""The benchmarks' page, of which each command writes its own part."""

import os
import platform
import re
from pathlib import Path

README = Path(__file__).with_name("README.md")
_MARK = re.compile(r"^<!-- ([^>]+) writes what follows -->\n", re.MULTILINE)


def write_part(name: str, text: str, page: Path = README) -> None:
    """Replace a command's part of the page, or add it at the end; the others stay as they are."""
    head, *rest = _MARK.split(page.read_text())
    parts = dict(zip(rest[::2], rest[1::2], strict=True)) | {name: f"{text.strip()}\n"}
    written = "\n".join(f"<!-- {part} writes what follows -->\n{own.strip()}\n" for part, own in parts.items())
    page.write_text(f"{head.strip()}\n\n{written}")


def machine() -> str:
    """Describe where this runs, without naming it."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
