import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.errors import EddyError
from dataflows.store.contents import key_hash
from models.user.codec import VERSION
from tests.dataflows.store.builders import PROFILES, a_store, change_states
from tests.flows.test_recommend import Run, an_event


def eddy(folder: Path, *arguments: str) -> Result:
    environment = {"COLUMNS": "300", "EDDY_RECOVERY__FOLDER": str(folder)}
    return CliRunner().invoke(app, ["state", *arguments], env=environment)


def a_used_store(folder: Path) -> None:
    events = [an_event(number, user_id=f"ann-{number % 3}", item_id=f"i-{number}") for number in range(9)]
    Run(events, store=folder / "recommend").run()


def test_inspect_counts_what_each_step_keeps_and_names_no_user(tmp_path: Path):
    a_used_store(tmp_path)
    shown = eddy(tmp_path, "inspect", "recommend", "--json")
    step = json.loads(shown.stdout)["steps"][PROFILES]
    assert (step["keys"], step["formats"]) == (3, {str(VERSION): 3})
    assert step["largest"][0]["key_hash"] in {key_hash(f"ann-{number}") for number in range(3)}
    assert "ann-" not in shown.output + eddy(tmp_path, "inspect", "recommend").output


def test_inspect_shows_one_user_in_words(tmp_path: Path):
    a_used_store(tmp_path)
    shown = json.loads(eddy(tmp_path, "inspect", "recommend", "--user", "ann-1").stdout)[PROFILES]
    assert (shown["events"], len(shown["recent_items"]), shown["owned"]) == (3, 3, [])


def test_inspect_says_where_nothing_is_kept_of_a_user(tmp_path: Path):
    a_used_store(tmp_path)
    refused = eddy(tmp_path, "inspect", "recommend", "--user", "bob")
    assert isinstance(refused.exception, EddyError)
    assert "nothing is kept of this user" in str(refused.exception)
    assert "bob" not in str(refused.exception)


def test_inspect_counts_state_of_another_release_by_its_version(tmp_path: Path):
    a_used_store(tmp_path)
    change_states(tmp_path / "recommend", PROFILES, lambda state: (b"\x07" + state[0][1:], *state[1:]))
    shown = json.loads(eddy(tmp_path, "inspect", "recommend", "--json").stdout)
    assert shown["steps"][PROFILES]["formats"] == {"7": 3}
    assert isinstance(eddy(tmp_path, "inspect", "recommend", "--user", "ann-1").exception, EddyError)


def test_compact_says_what_it_came_to(tmp_path: Path):
    a_store(tmp_path / "recommend", [(PROFILES, "u", 1, None)] * 1 + [(PROFILES, "v", 1, b"x")])
    assert "1 rows dropped, 1 kept" in eddy(tmp_path, "compact", "recommend").output


@pytest.mark.parametrize("command", ["inspect", "compact"])
def test_a_folder_without_a_store_is_named(tmp_path: Path, command: str):
    refused = eddy(tmp_path, command, "learn")
    assert str(refused.exception) == f"{tmp_path / 'learn'}: there is no recovery store in it"
