"""What the processes of a cluster compare before they begin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.run.fingerprint import OWN, fingerprints
from dataflows.run.settings import load, variables


def differing(monkeypatch: pytest.MonkeyPatch, **settings: str) -> set[str]:
    before = fingerprints(load())
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    after = fingerprints(load())
    return {name for name in before if before[name] != after[name]}


def test_a_setting_that_changes_what_users_are_shown_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch):
    assert differing(monkeypatch, EDDY_STRATEGY__RANKER="mlp") == {"EDDY_STRATEGY__RANKER"}


def test_what_may_differ_is_a_setting_and_is_not_compared(monkeypatch: pytest.MonkeyPatch):
    assert set(variables()) >= OWN
    assert differing(monkeypatch, EDDY_THREADS="2", EDDY_HTTP__PORT="0", EDDY_RECOVERY__FOLDER="x") == set()


def test_the_same_experiments_in_another_file_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    for file in (one, other):
        file.write_text("experiments: []\n")
    monkeypatch.setenv("EDDY_EXPERIMENTS_FILE", str(one))
    assert differing(monkeypatch, EDDY_EXPERIMENTS_FILE=str(other)) == set()
    other.write_text("experiments: [{}]\n")
    monkeypatch.setenv("EDDY_EXPERIMENTS_FILE", str(one))
    assert differing(monkeypatch, EDDY_EXPERIMENTS_FILE=str(other)) == {"EDDY_EXPERIMENTS_FILE"}


def test_a_hash_is_the_same_in_every_process():
    code = (
        "from dataflows.run.fingerprint import *; from dataflows.run.settings import load; print(fingerprints(load()))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_no_secret_can_be_read_from_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDDY_KAFKA__SASL_PASSWORD", "hunter2")
    assert "hunter2" not in str(fingerprints(load()))
    assert "EDDY_KAFKA__SASL_PASSWORD" not in fingerprints(load())
