"""Placements in the settings: what their strategies leave out, and how mistakes are told."""

import json
import os
from typing import Any

import pytest

from dataflows.run.experiments_file import ExperimentError
from dataflows.run.resources import declared_experiments
from dataflows.run.setting_errors import SettingsError
from dataflows.run.settings import Settings, load


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


def test_what_a_placement_leaves_out_is_as_in_the_strategy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDDY_STRATEGY__DIVERSITY", "0.4")
    monkeypatch.setenv("EDDY_PLACEMENTS", '{"cart": {"strategy": {"n_items": 4}, "triggers": ["cart"]}, "home": {}}')
    placements = load().placements
    assert [(name, one.strategy.n_items, one.strategy.diversity) for name, one in placements.items()] == [
        ("cart", 4, 0.4), ("home", 10, 0.4),
    ]  # fmt: skip
    assert placements["cart"].triggers == {"cart"}


@pytest.mark.parametrize(
    ("placements", "told"),
    [
        ({"cart": {"strategy": {"n_item": 4}}}, "cart.strategy.n_item: unknown key: did you mean 'n_items'?"),
        ({"cart": {"strategy": {"n_items": 0}}}, "cart.strategy.n_items: Expected `int` >= 1"),
        ({"cart": {"n_items": 4}}, "cart.n_items: unknown key"),
        ({"": {}}, "Expected `str` of length >= 1"),
        ({"default": {}}, "default: it is there already: its strategy is `strategy` itself"),
        ({"cart": {"triggers": ["crat"]}}, "cart.triggers: no event has the type 'crat': did you mean 'cart'?"),
        ({"cart": {"triggers": ["impression"]}}, "cart.triggers: 'impression' makes no slate"),
        ({"a": {"triggers": ["cart"]}, "b": {"triggers": ["cart"]}}, "b.triggers: 'cart' triggers 'a' already"),
        (
            {"cart": {"strategy": {"rules": [{"name": "r", "kind": "filter", "where": {"prize": {"lt": 1}}}]}}},
            "cart.strategy.rules[0].where.prize: no such field",
        ),
        ([], "Expected `object`, got `array`"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_path(monkeypatch: pytest.MonkeyPatch, placements: Any, told: str):
    monkeypatch.setenv("EDDY_PLACEMENTS", json.dumps(placements))
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value).startswith(f"EDDY_PLACEMENTS: {told}")


def test_an_experiment_is_of_placements_that_are_declared():
    variants = [{"name": name, "weight": 1, "strategy": {}} for name in "ab"]
    experiments = [{"name": "e", "placements": ["crat"], "variants": variants}]
    settings = Settings(placements={"cart": {}}, experiments=experiments)
    with pytest.raises(ExperimentError, match="e: placements: no placement is named 'crat': did you mean 'cart'"):
        declared_experiments(settings)
