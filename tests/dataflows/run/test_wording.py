from pathlib import Path

import orjson
import pytest

from dataflows.errors import EddyError
from dataflows.run.settings import FunnelSettings, RankerSettings, Settings
from dataflows.run.wording import chosen_phrases
from models.names import REASON_CODES
from models.phrases import Why


def test_reasons_are_said_in_the_language_that_is_set_or_in_words_of_ones_own(tmp_path: Path):
    own = tmp_path / "fr.json"
    own.write_bytes(orjson.dumps({code: {"plain": f"en français: {code}"} for code in REASON_CODES}))
    assert chosen_phrases(Settings()).say(Why("trending")) == "trending now"
    assert chosen_phrases(Settings(language="zh")).say(Why("trending")) == "正在流行"
    assert chosen_phrases(Settings(language="zh", phrases=own)).say(Why("trending")) == "en français: trending"


def test_a_file_that_cannot_be_read_or_is_none_is_named(tmp_path: Path):
    with pytest.raises(EddyError, match=r"EDDY_PHRASES: .*nowhere.json cannot be read: No such file"):
        chosen_phrases(Settings(phrases=tmp_path / "nowhere.json"))
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    with pytest.raises(EddyError, match=r"EDDY_PHRASES: .*wrong.json: it has no phrase for .*en.json shows the form"):
        chosen_phrases(Settings(phrases=wrong))


@pytest.mark.parametrize(
    ("settings", "logged"),
    [
        (Settings(), False),
        (Settings(ranker=RankerSettings(name="mlp")), True),
        (Settings(funnel=FunnelSettings(learn=True)), True),
        (Settings(log_features="always"), True),
        (Settings(ranker=RankerSettings(name="mlp"), log_features="never"), False),
    ],
)
def test_slates_carry_features_where_something_learns_from_them(settings: Settings, logged: bool):
    assert settings.logs_features is logged
