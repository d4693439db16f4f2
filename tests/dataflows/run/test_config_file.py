"""`eddy.yaml`: what it sets, what wins over it, how its mistakes are told, and its schema."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from dataflows.cli.main import app
from dataflows.run.resources import declared_experiments
from dataflows.run.setting_errors import SettingsError
from dataflows.run.setting_schema import setting_schema
from dataflows.run.settings import load
from tests.places import ROOT

EXPERIMENTS = """
experiments:
  - name: diversity
    variants:
      - {name: control, weight: 1, strategy: {}}
      - {name: diverse, weight: 1, strategy: {diversity: 0.3}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_in_the_working_folder_is_read(here: Path):
    (here / "eddy.yaml").write_text("strategy: {n_items: 7}\ntopics:\n  prefix: shop-\nlanguage: de\n")
    loaded = load()
    assert (loaded.strategy.n_items, loaded.strategy.diversity) == (7, 0.15)
    assert (loaded.topics.prefix, loaded.language, loaded.config) == ("shop-", "de", Path("eddy.yaml"))


def test_a_file_that_is_named_is_read_in_place_of_the_one_that_is_there(here: Path, monkeypatch: pytest.MonkeyPatch):
    (here / "eddy.yaml").write_text("strategy: {n_items: 7}\n")
    (here / "other.yaml").write_text("strategy: {diversity: 0.5}\n")
    monkeypatch.setenv("EDDY_CONFIG", "other.yaml")
    assert (load().strategy.n_items, load().strategy.diversity) == (10, 0.5)


def test_the_environment_wins_and_what_it_says_is_taken_whole(here: Path, monkeypatch: pytest.MonkeyPatch):
    (here / "eddy.yaml").write_text(
        "events:\n  weights: {view: 1, click: 2}\nstrategy: {n_items: 7, diversity: 0.5}\nlanguage: de\n"
    )
    monkeypatch.setenv("EDDY_EVENTS__WEIGHTS", '{"view": 3}')
    monkeypatch.setenv("EDDY_STRATEGY__N_ITEMS", "3")
    monkeypatch.setenv("EDDY_LANGUAGE", "zh")
    loaded = load()
    assert loaded.events.weights == {"view": 3.0}
    assert (loaded.strategy.n_items, loaded.strategy.diversity, loaded.language) == (3, 0.5, "zh")


def test_the_preset_fills_in_what_neither_says(here: Path):
    (here / "eddy.yaml").write_text("preset: video\nstrategy: {sources: {trending: 1}}\nprofile: {lateness_s: 5}\n")
    loaded = load(preset=None)
    assert (loaded.strategy.diversity, loaded.strategy.sources) == (0.25, {"trending": 1.0})
    assert (loaded.profile.lateness_s, loaded.profile.session_gap_s) == (5, 3 * 3_600)


def test_experiments_in_the_file_are_judged_by_its_goal(here: Path):
    (here / "eddy.yaml").write_text(f"evaluate: {{goal: conversion}}\n{EXPERIMENTS}")
    (experiment,) = declared_experiments(load()).declared
    assert experiment.analysis.goal == "conversion"
    assert [variant.strategy.diversity for variant in experiment.variants] == [0.15, 0.3]


def test_a_file_of_experiments_in_the_environment_takes_the_place_of_those_in_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "eddy.yaml").write_text(EXPERIMENTS)
    (here / "none.yaml").write_text("experiments: []\n")
    monkeypatch.setenv("EDDY_EXPERIMENTS_FILE", "none.yaml")
    assert declared_experiments(load()).declared == ()


MISTAKES = [
    ("strateg: {n_items: 3}\n", 1, "strateg: unknown key: did you mean 'strategy'?"),
    ("strategy:\n  n_item: 3\n", 2, "strategy.n_item: unknown key: did you mean 'n_items'?"),
    ("kafka:\n  strat: latest\n", 2, "kafka.strat: unknown key: did you mean 'start'?"),
    ("\nstrategy:\n  n_items: 0\n", 3, "strategy.n_items: Expected `int` >= 1, not 0"),
    ("events:\n  weights:\n    view: much\n", 3, "events.weights.view: Expected `float`, got `str`"),
    ("http:\n  port: many\n", 2, "http.port: "),
    ("threads: 65\n", 1, "threads: "),
    ("language: fr\n", 1, "language: "),
    ("strategy: 5\n", 1, "strategy: "),
    ("topics:\n", 1, "topics: "),
    ("strategy:\n  sources: {trending: 0}\n", 1, "strategy: no source has a weight above 0"),
    (EXPERIMENTS.replace("weight: 1", "weight: 0", 1), 5, "experiments[0].variants[0].weight: Expected `float` > 0"),
    (EXPERIMENTS.replace("diverse,", "control,"), 6, "experiments[0].variants[1].name: two variants"),
    ("experiments_file: e.yaml\n" + EXPERIMENTS, 3, "experiments: experiments are declared here, and"),
    ("config: other.yaml\n", 1, "config: only EDDY_CONFIG can name the file"),
    ("1: 2\n", 1, "1: unknown key: known are"),
    ("- strategy\n", 1, "no settings are in it: begin with a section's name"),
    ("strategy: {n_items: 3}\nstrategy: {}\n", 2, "not YAML: the key 'strategy' is repeated"),
]


@pytest.mark.parametrize(("text", "line", "told"), MISTAKES)
def test_a_mistake_is_told_with_its_line(here: Path, text: str, line: int, told: str):
    (here / "eddy.yaml").write_text(text)
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value).startswith(f"eddy.yaml:{line}: {told}")


def test_a_mistake_of_the_environment_is_told_by_its_variable_whatever_the_file_says(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "eddy.yaml").write_text("strategy: {n_items: 7}\n")
    monkeypatch.setenv("EDDY_STRATEGY__N_ITEMS", "0")
    with pytest.raises(SettingsError, match=r"^EDDY_STRATEGY__N_ITEMS: "):
        load()


def test_a_named_file_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDDY_CONFIG", "missing.yaml")
    with pytest.raises(SettingsError, match=r"^missing\.yaml: No such file or directory: name a file"):
        load()


def test_a_secret_in_the_file_is_not_told(here: Path):
    (here / "eddy.yaml").write_text("kafka:\n  sasl_password: [tell-nobody]\n")
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value).startswith("eddy.yaml:2: kafka.sasl_password: ")
    assert "tell-nobody" not in str(error.value)


def schema_faults(text: str) -> list[Any]:
    schema = setting_schema()
    Draft202012Validator.check_schema(schema)
    return list(Draft202012Validator(schema).iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize("text", [text for text, *_ in MISTAKES[:9]])
def test_an_editor_sees_by_the_schema_what_is_wrong(text: str):
    assert schema_faults(text)


def test_the_schema_is_printed_by_a_command_that_writes_nothing(here: Path):
    printed = CliRunner().invoke(app, ["schema", "--settings"])
    assert json.loads(printed.stdout) == json.loads(json.dumps(setting_schema()))
    refused = CliRunner().invoke(app, ["schema", "--settings", "folder"])
    assert (refused.exit_code, list(here.iterdir())) == (2, [])


def test_the_example_is_what_the_schema_and_the_settings_take(monkeypatch: pytest.MonkeyPatch):
    example = ROOT / "deploy" / "eddy.yaml"
    assert schema_faults(example.read_text()) == []
    monkeypatch.setenv("EDDY_CONFIG", str(example))
    loaded = load()
    assert [experiment.name for experiment in declared_experiments(loaded).declared] == ["cart-diversity"]
    assert {name: one.strategy.n_items for name, one in loaded.placements.items()} == {"home": 10, "cart": 4, "mail": 6}
    assert [rule.name for rule in loaded.placements["mail"].strategy.rules] == ["no-samples", "clearance"]
