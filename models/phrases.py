"""Reasons in words: a catalog of phrases a language, to which a platform may add its own."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from models.names import REASON_CODES, LanguageName, ReasonCode


class Why(NamedTuple):
    """Why an item is on a slate."""

    code: ReasonCode
    about: str | None = None
    """An item's id, or an attribute's value; None where it is about nothing."""
    name: str = ""
    """What people call that; empty where nobody has said."""


class Phrase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a reason is said."""

    plain: str
    """Where it is about nothing that has a name."""
    named: str | None = None
    """Where it has: {} is put in place of the name."""


class Phrases:
    """Says reasons in one language.

    Parameters
    ----------
    catalog : a JSON object of each of REASON_CODES, with its `plain` phrase and, where one may be about something, its
        `named` one.

    Raises
    ------
    ValueError : it is something else; the text says what is wrong.
    """

    def __init__(self, catalog: bytes) -> None:
        try:
            self._phrases = msgspec.json.decode(catalog, type=dict[ReasonCode, Phrase])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"it is no catalog of phrases: {error}") from error
        if missing := [code for code in REASON_CODES if code not in self._phrases]:
            raise ValueError(f"it has no phrase for {', '.join(missing)}")

    def say(self, why: Why) -> str:
        """Put a reason into words."""
        phrase = self._phrases[why.code]
        return phrase.named.replace("{}", why.name) if why.name and phrase.named else phrase.plain


@cache
def phrases_of(language: LanguageName) -> Phrases:
    """Return the catalog of a language that comes with this release."""
    return Phrases(files("models").joinpath(f"languages/{language}.json").read_bytes())
