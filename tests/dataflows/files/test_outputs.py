"""Whether a file can be written is known before the work that it is for."""

from pathlib import Path

import pytest

from dataflows.files.lines import FileError
from dataflows.files.outputs import require_writable


def test_a_file_that_is_there_or_can_be_made_is_fine(tmp_path: Path):
    (tmp_path / "there.json").touch()
    require_writable(None, tmp_path / "there.json", tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere/x.json", "there is no folder .*nowhere: make it first"), ("folder", "it is a folder")]
)
def test_what_cannot_be_written_is_said_with_the_reason(tmp_path: Path, name: str, why: str):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match=why):
        require_writable(tmp_path / name)
