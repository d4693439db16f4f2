"""The code blocks and the commands of the docs, read as a shell and a reader would read them."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

_BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_BETWEEN = {"&&", "||", ";", "|", "&"}


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    title: str
    """The file that it is; empty where it is none."""
    text: str


class Command(NamedTuple):
    """What one command is called with."""

    settings: dict[str, str]
    """Variables that stand before it or were exported before it, on this page."""
    words: tuple[str, ...]


def blocks_of(page: str, *languages: str) -> list[Block]:
    """List the fenced blocks of a page, of some languages or of all."""
    found = [Block(language, title, text) for language, title, text in _BLOCK.findall(page)]
    return [block for block in found if not languages or block.language in languages]


def commands_of(script: str, exported: dict[str, str] | None = None) -> Iterator[Command]:
    """Give the commands of a script in turn; `exported` gathers what it exports."""
    exported = {} if exported is None else exported
    for words in _lines(script):
        settings = dict(exported)
        while words and (found := _ASSIGNMENT.fullmatch(words[0])):
            settings[found[1]] = found[2]
            words.pop(0)
        if words and words[0] == "export":
            exported |= dict(word.split("=", 1) for word in words[1:])
            yield Command(dict(exported), ())
        elif words:
            yield Command(settings, tuple(words))


def _lines(script: str) -> Iterator[list[str]]:
    """Split a script at its lines, but not inside quotes, and at what stands between two commands."""
    pending = ""
    for line in script.splitlines():
        pending += f"{line}\n"
        lexer = shlex.shlex(pending, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quote is still open
            continue
        pending = ""
        while words:
            end = next((place for place, word in enumerate(words) if word in _BETWEEN), len(words))
            if words[:end]:
                yield words[:end]
            words = words[end + 1 :]
    assert not pending, f"a quote is open at the end of {script!r}"
