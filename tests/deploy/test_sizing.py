"""The page on sizing says what the script works out of the measured figures, wherever those stand now."""

import runpy
from typing import Any

import pytest

from tests.places import ROOT

DOCS = ROOT / "deploy" / "docs"
SIZING: dict[str, Any] = runpy.run_path(str(DOCS / "sizing.py"))
PAGE = (DOCS / "pages" / "sizing.md").read_text()


def test_the_page_has_the_tables_of_the_script():
    """`python deploy/docs/sizing.py` prints them."""
    for table in SIZING["tables"]():
        assert table in PAGE


def test_a_load_is_worked_out_as_by_hand():
    of = {
        "recommend": 20_000, "recovery": 0.5, "learn": 40_000, "snapshot": 2_000, "stored": 800, "slate": 2_000,
        "base": 500, "crowd": 600, "row": 500, "neighbour": 10, "resume": 10 / 200_000, "door_slates": 1_000,
        "door_events": 500, "event": 150,
    }  # fmt: skip
    found = dict(SIZING["sized"](SIZING["Load"](50_000, 2_000_000, 1_000_000, 50), of))
    assert found["`recommend`: processes, each with a core of its own"] == "5"
    assert found["`learn`: the same"] == "2"
    assert found["`recommend`: memory of the users, all processes, GB"] == "10.0"
    assert found["`recommend`: memory besides, a process, GB"] == "1.50"
    assert found["`recommend`: its store, GB"] == "8.0"
    assert found["`recommend`: written to it, at most, MB/s"] == "100"
    assert found["`recommend`: resume on 8 files, minutes"] == "1.7"
    assert found["events and slates written, before replicas and lz4, MB/s"] == "32.5"
    assert found["doors, where all events came through them"] == "100"


def test_a_figure_that_is_gone_is_named():
    with pytest.raises(LookupError, match=r"SERVE.md does not say any more: unicorns"):
        SIZING["Figure"]("unicorns", SIZING["DOOR"], r"(\d+) unicorns").read()
