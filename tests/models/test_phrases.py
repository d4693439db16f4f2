"""The catalogs of phrases are whole, and what is wrong with one's own is said."""

from typing import get_args

import orjson
import pytest

from models.names import REASON_CODES, LanguageName, ReasonCode
from models.phrases import Phrases, Why, phrases_of

WHOLE = {code: {"plain": f"plain {code}", "named": f"{code} of {{}}"} for code in REASON_CODES}


@pytest.mark.parametrize("language", get_args(LanguageName))
@pytest.mark.parametrize("code", REASON_CODES)
def test_every_language_has_words_for_every_reason_and_puts_the_name_where_it_belongs(
    language: LanguageName, code: ReasonCode
):
    plain, named = (phrases_of(language).say(Why(code, "i-1", name)) for name in ("", "The Lamp"))
    assert plain
    assert "{}" not in plain + named
    assert "The Lamp" in named or named == plain


def test_a_language_says_different_things_of_different_reasons():
    for language in get_args(LanguageName):
        said = [phrases_of(language).say(Why(code, "i-1", "X")) for code in REASON_CODES]
        assert len(set(said)) == len(said)


def test_a_name_is_put_in_as_it_is():
    """It is the catalog's, and may hold what looks like a place for something."""
    name = "{0.__class__} {} 100% {x"
    assert Phrases(orjson.dumps(WHOLE)).say(Why("goes_with", "i", name)) == f"goes_with of {name}"


@pytest.mark.parametrize(
    ("catalog", "wrong"),
    [
        (b"", "no catalog"),
        (b"[" * 5_000, "no catalog"),
        (b"\xff", "no catalog"),
        (orjson.dumps({"sold_out": {"plain": "x"}}), "sold_out"),
        (orjson.dumps(WHOLE | {"taste": {"named": "x"}}), "plain"),
        (orjson.dumps(WHOLE | {"taste": {"plain": "x", "name": "y"}}), "name"),
        (orjson.dumps({code: WHOLE[code] for code in REASON_CODES[2:]}), "no phrase for others_went_on, often_next"),
    ],
)
def test_what_is_no_catalog_is_refused_with_what_is_wrong(catalog: bytes, wrong: str):
    with pytest.raises(ValueError, match=wrong):
        Phrases(catalog)
