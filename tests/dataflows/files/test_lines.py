import gzip
from pathlib import Path

import orjson
import pytest

from dataflows.files.lines import FileError, read_lines


@pytest.fixture
def lines() -> list[bytes]:
    return [orjson.dumps({"user_id": f"u{k}", "title": "naïve"}) for k in range(3)]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_plain_and_a_gzip_file_give_the_same_lines(tmp_path: Path, lines: list[bytes], ending: str) -> None:
    content = ending.encode().join(lines)
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
    assert list(read_lines(tmp_path / "a.jsonl")) == lines
    assert list(read_lines(tmp_path / "a.jsonl.gz")) == lines


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.csv", b"", r"only \.jsonl and \.jsonl\.gz"),
        ("a.jsonl.gz", b"not gzip", "not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(bytes(range(256)) * 99)[:-9], "not a whole gzip file"),
        ("a.jsonl", None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes | None, fault: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=fault):
        list(read_lines(tmp_path / name))
