from pathlib import Path

from tests.benchmarks.pages import write_part


def a_page(folder: Path) -> Path:
    page = folder / "README.md"
    page.write_text("# Benchmarks\n")
    return page


def test_a_command_replaces_its_own_part_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    page = a_page(tmp_path)
    write_part("bench", "one", page)
    write_part("bench-e2e kafka", "two", page)

    write_part("bench", "three", page)

    assert "one" not in page.read_text()
    assert page.read_text().index("# Benchmarks") < page.read_text().index("three") < page.read_text().index("two")


def test_a_part_that_is_written_twice_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    page = a_page(tmp_path)
    write_part("bench", "one", page)
    once = page.read_text()

    write_part("bench", "one", page)

    assert page.read_text() == once
