import sys
from pathlib import Path

import pytest

from dataflows.errors import EddyError
from dataflows.kafka.tokens import token_source
from dataflows.run.infrastructure import KafkaSettings

MODULE = """
def token(config):
    return f"token for {config}", 1_800_000_000.0

LIFETIME_S = 60
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "company_of_test.py").write_text(MODULE)
    (tmp_path / "broken_of_test.py").write_text("raise RuntimeError('no such region')")
    return "company_of_test"


def test_all_clients_get_the_function_that_is_named(module: str):
    settings = KafkaSettings(sasl_mechanism="OAUTHBEARER", oauth_cb=f"{module}:token")
    source = settings.client()["oauth_cb"]
    assert callable(source)
    assert source("shop") == ("token for shop", 1_800_000_000.0)
    assert "oauth_cb" not in KafkaSettings().client()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere_to_be_found:token", "module 'nowhere_to_be_found' cannot be imported"),
        ("{module}:tokens", "has no function 'tokens'"),
        ("{module}:LIFETIME_S", "has no function 'LIFETIME_S'"),
        ("broken_of_test:token", "module 'broken_of_test' cannot be imported: no such region"),
        ("{module}", "is no module:function"),
        (":token", "is no module:function"),
    ],
)
def test_a_name_of_no_function_says_what_is_wrong(module: str, name: str, told: str):
    with pytest.raises(EddyError, match=f"EDDY_KAFKA__OAUTH_CB.*{told}"):
        token_source(name.format(module=module))
