"""The site builds strictly, loads nothing from the network, and its reference leaves nothing out."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataflows.cli.main import COMMANDS
from dataflows.contract import schemas
from dataflows.run.settings import variables
from dataflows.topics import TOPICS
from tests.deploy.test_observability import exported
from tests.places import ROOT

DOCS = ROOT / "deploy" / "docs"
SOURCES: dict[str, Any] = runpy.run_path(str(DOCS / "sources.py"))
LOADED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//|url\(["']?https?:""")
"""What a browser fetches by itself from another machine."""


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        pages: dict[str, str] = runpy.run_path(str(DOCS / "reference.py"))["pages"]()
    return {Path(place).stem: text for place, text in pages.items()}


def test_every_setting_is_in_the_reference_once(reference: dict[str, str]):
    named = re.findall(r"^\| `(EDDY_\w+)` \|", reference["settings"], re.MULTILINE)
    assert sorted(named) == sorted(variables())


def test_every_command_is_in_the_reference_with_its_subcommands(reference: dict[str, str]):
    named = set(re.findall(r"^##+ `eddy ([a-z- ]+)`$", reference["commands"], re.MULTILINE))
    assert set(COMMANDS) <= named
    assert {"topics create", "models rollback", "state backup"} <= named


def test_every_topic_and_every_message_with_its_fields_is_in_the_reference(reference: dict[str, str]):
    assert all(reference["topics"].count(f"| `{topic.name}` |") == 2 for topic in TOPICS)
    for name, schema in schemas().items():
        section = reference["messages"].split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert all(f"| `{field}` |" in section for field in schema["properties"])


def test_every_metric_that_is_exported_is_in_the_reference_with_its_meaning(reference: dict[str, str]):
    rows = dict(re.findall(r"^\| `(eddy_\w+)` \| \w+ \| [^|]* \| (.+) \|$", reference["metrics"], re.MULTILINE))
    known = {f"{name}{end}" for name in rows for end in ("", "_total", "_created")}
    assert {name for name in exported() if name.startswith("eddy_")} <= known
    assert all(rows.values())


@pytest.mark.parametrize("page", [page for page in SOURCES["WHOLE"].values() if page.endswith("README.md")])
def test_links_of_a_page_that_stands_elsewhere_lead_to_the_site_or_nowhere(page: str):
    text = SOURCES["relinked"]((ROOT / page).read_text(), page, "page.md")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    known = {place for place, _ in SOURCES["pages"]()} | {f"pictures/{path.name}" for path in SOURCES["pictures"]()}
    assert set(targets) <= known


def test_a_section_ends_at_the_next_heading_of_its_level_and_comments_in_code_are_no_headings():
    text = "# A\n\n## B\nb\n```sh\n# no heading\n```\n### C\nc\n## D\nd\n"
    assert SOURCES["section_of"](text, "B", "a page") == "b\n```sh\n# no heading\n```\n### C\nc"
    with pytest.raises(LookupError, match="a page has no section 'E'"):
        SOURCES["section_of"](text, "E", "a page")


@pytest.mark.slow
def test_the_site_is_built_strictly_and_no_page_loads_anything_from_the_network(tmp_path: Path):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(DOCS / "mkdocs.yml")]
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(list((DOCS / "pages").rglob("*.md"))) + len(SOURCES["WHOLE"])
    loads = {
        f"{path.relative_to(tmp_path)}: {found[0]}"
        for path in [*pages, *tmp_path.rglob("*.css")]
        for found in LOADED.finditer(path.read_text())
    }
    assert loads == set()
