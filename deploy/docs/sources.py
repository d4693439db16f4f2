"""Pages that stand elsewhere in the repository, and sections of them: each text is written once.

A page includes a section by a line `<!-- include PATH: HEADING -->`, with the path from the repository's root.
"""

import re
from collections.abc import Iterator
from os.path import normpath, relpath
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
PAGES = Path(__file__).with_name("pages")
WHOLE = {
    "operate.md": "deploy/README.md",
    "presets.md": "dataflows/PRESETS.md",
    "http.md": "dataflows/SERVE.md",
    "security.md": "SECURITY.md",
    "design/dataflows.md": "dataflows/README.md",
    "design/models.md": "models/README.md",
    "design/benchmarks.md": "tests/benchmarks/README.md",
    "design/growth.md": "tests/benchmarks/GROWTH.md",
    "design/changelog.md": "CHANGELOG.md",
}
"""Pages of the site that are files of the repository, by their place on the site."""
PICTURES = "deploy/pictures"

_INCLUDE = re.compile(r"^<!-- include ([\w./-]+): (.+) -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)")
_FENCE = re.compile(r"^```")


class MissingSectionError(LookupError):
    """A page includes a section that is not there; the text names both."""


def pages() -> Iterator[tuple[str, str]]:
    """Give each page by its place on the site, with all that it includes."""
    for path in sorted(PAGES.rglob("*.md")):
        place = path.relative_to(PAGES).as_posix()
        yield place, expanded(path.read_text(), place)
    for place, source in WHOLE.items():
        yield place, relinked((ROOT / source).read_text(), source, place)


def pictures() -> list[Path]:
    """List the pictures that pages may show."""
    return sorted(path for path in (ROOT / PICTURES).iterdir() if path.suffix in {".png", ".svg"})


def expanded(text: str, place: str) -> str:
    """Put the sections that a page includes in their places.

    Parameters
    ----------
    place : of the page on the site, which links are made for.

    Raises
    ------
    MissingSectionError
        Where there is no such section.
    """

    def included(found: re.Match[str]) -> str:
        source, heading = found.groups()
        return relinked(section_of((ROOT / source).read_text(), heading, source), source, place)

    return _INCLUDE.sub(included, text)


def section_of(text: str, heading: str, source: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above; without the heading.

    Raises
    ------
    MissingSectionError
        Where there is no such heading.
    """
    lines = text.splitlines()
    level, body, is_code = 0, [], False
    for line in lines:
        is_code ^= bool(_FENCE.match(line))
        marks = 0 if is_code else len(line) - len(line.lstrip("#"))
        if level and 0 < marks <= level:
            break
        if level:
            body.append(line)
        elif marks and line.lstrip("# ") == heading:
            level = marks
    if not level:
        raise MissingSectionError(f"{source} has no section {heading!r}: name one of its headings")
    return "\n".join(body).strip()


def relinked(text: str, source: str, place: str) -> str:
    """Let the links of a file of the repository lead to the site's pages; what is no page is named, and not linked."""
    site = {path: page for page, path in WHOLE.items()}
    written = PAGES.relative_to(ROOT).as_posix() + "/"

    def link(found: re.Match[str]) -> str:
        mark, words, target, anchor = found.groups()
        path = normpath(PurePosixPath(source).parent / target)
        if path.startswith(PICTURES):
            return f"{mark}[{words}]({_relative(path.removeprefix('deploy/'), place)})"
        page = path.removeprefix(written) if path.startswith(written) else site.get(path)
        if page is not None:
            return f"[{words}]({_relative(page, place)}{anchor or ''})"
        return words if path in words else f"{words} (`{path}`)"

    return _LINK.sub(link, text)


def _relative(target: str, place: str) -> str:
    return relpath(target, PurePosixPath(place).parent)
