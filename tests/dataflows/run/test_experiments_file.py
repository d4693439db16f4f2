import json
from pathlib import Path

import pytest

from dataflows.errors import EddyError
from dataflows.run.experiments_file import ExperimentError, load_experiments
from models.experiments.assign.declaration import Namespace
from tests.experiments import experiments_from

GOOD = """\
experiments:
  - name: diversity
    salt: diversity-2026-11
    coverage: 0.5
    namespace: {name: ranking, start: 0.0, end: 0.5}
    variants:
      - {name: control, weight: 1, strategy: {ranker: blend}}
      - name: treatment
        weight: 1
        strategy:
          ranker: mlp
          diversity: 0.3
          sources:
            content: 1
            trending: 0.5
  - name: exploration
    namespace: {name: ranking, start: 0.5, end: 1.0}
    variants:
      - {name: none, weight: 3, strategy: {exploration_slots: 0}}
      - {name: one, weight: 1, strategy: {exploration_slots: 1}}
"""

ALIASED = """\
experiments:
  - name: e
    variants:
      - {name: a, weight: 1, strategy: &same {diversity: 0.5}}
      - {name: b, weight: 1, strategy: *same}
"""

MERGED = """\
experiments:
  - name: e
    variants:
      - &base {name: a, weight: 1, strategy: {}}
      - <<: *base
        name: b
        weight: -1
"""


def a_file(tmp_path: Path, content: str | bytes = GOOD) -> Path:
    path = tmp_path / "experiments.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def the_error(tmp_path: Path, content: str | bytes) -> tuple[int, str]:
    """Return line and text of the error; the file's name stands before them."""
    path = a_file(tmp_path, content)
    with pytest.raises(ExperimentError) as caught:
        load_experiments(path)
    line, text = str(caught.value).removeprefix(f"{path}:").split(": ", 1)
    return int(line), text


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_file_declares_its_experiments_in_order(tmp_path: Path):
    first, second = load_experiments(a_file(tmp_path)).declared
    assert (first.name, first.salt, first.coverage) == ("diversity", "diversity-2026-11", 0.5)
    assert first.namespace == Namespace("ranking", 0.0, 0.5)
    assert [(v.name, v.weight, v.strategy.ranker) for v in first.variants] == [
        ("control", 1.0, "blend"), ("treatment", 1.0, "mlp"),
    ]  # fmt: skip
    assert first.variants[1].strategy.sources == {"content": 1.0, "trending": 0.5}
    assert second.salt == "exploration"


def test_json_declares_the_same_as_yaml(tmp_path: Path):
    values = [
        {
            "name": "e",
            "variants": [{"name": name, "weight": 1, "strategy": {"diversity": 0.5}} for name in ("a", "b")],
        }
    ]
    by_json = load_experiments(a_file(tmp_path, json.dumps({"experiments": values}, indent=2)))
    by_yaml = load_experiments(a_file(tmp_path, ALIASED))
    assert by_json.declared == by_yaml.declared == experiments_from(values).declared


def test_no_experiment_may_be_declared(tmp_path: Path):
    assert load_experiments(a_file(tmp_path, "experiments: []")).declared == experiments_from([]).declared == ()


MISTAKES = [
    ("name: treatment", "nmae: treatment", 8, ["variants[1].nmae: unknown key", "did you mean 'name'?"]),
    ("coverage: 0.5", "trafic: 0.5", 4, ["experiments[0].trafic", "known are name, variants, salt"]),
    (" trending: 0.5", " trendy: 0.5", 15, ["sources.trendy", "did you mean 'trending'?"]),
    (" trending: 0.5", " trending: -1", 15, ["sources.trending", ">= 0.0, not -1"]),
    ("content: 1\n            trending: 0.5", "content: 0", 10, ["strategy: no source has a weight"]),
    ("  weight: 1\n", "  weight: 0\n", 9, ["variants[1].weight", "> 0.0, not 0"]),
    ("        weight: 1\n", "", 8, ["variants[1]: ", "missing", "`weight`: add it"]),
    ("name: treatment", "name: control", 8, ["two variants of 'diversity' are named 'control'", "rename"]),
    ("name: treatment", "name: no", 8, ["[1].name", "Expected `str`, got `bool`", "put it in quotes"]),
    ("name: treatment", "name: 2026-11-01", 8, ["Expected `str`, got `date`", "put it in quotes"]),
    ("name: treatment", "name: ''", 8, ["[1].name", "length >= 1"]),
    ("ranker: mlp", "ranker: mpl", 11, ["strategy.ranker", "'mpl'", "did you mean 'mlp'?"]),
    ("ranker: mlp", "ranker:", 11, ["strategy.ranker", "leave the key out"]),
    ("diversity: 0.3", "diversity: lots", 12, ["Expected `float`, got `str`", "'lots'"]),
    ("coverage: 0.5", "coverage: 1.5", 4, ["experiments[0].coverage", "<= 1.0, not 1.5"]),
    ("coverage: 0.5", "coverage: .nan", 4, ["experiments[0].coverage"]),
    ("start: 0.0, end: 0.5", "start: 0.5, end: 0.2", 5, ["namespace.end", "let start be below end"]),
    ("start: 0.5, end: 1.0", "start: 0.4, end: 1.0", 17, ["'diversity' and 'exploration'", "disjoint"]),
    ("name: exploration", "name: diversity", 16, ["experiments[1].name", "two experiments", "its own"]),
    ("salt: diversity-2026-11", "salt: exploration", 16, ["experiments[1].salt", "'exploration'", "its own"]),
    ("coverage: 0.5", "coverage: 0.5\n    coverage: 0.7", 5, ["'coverage' is repeated", "keep one"]),
    ("coverage: 0.5", "coverage: 0.5: 0.7", 4, ["not YAML", "mapping values are not allowed"]),
    ("    coverage: 0.5", "\tcoverage: 0.5", 4, ["not YAML", "indent with spaces"]),
    ("coverage: 0.5", "coverage: !!python/name:os.system", 4, ["could not determine a constructor"]),
    ("coverage: 0.5", "coverage: 0.\a5", 4, ["control character", "delete it"]),
    ("experiments:", "experiment:", 1, ["experiment: unknown key", "did you mean 'experiments'?"]),
]
"""What is replaced by what in the good file, the line of the error, and what its text says."""


@pytest.mark.parametrize(("old", "new", "line", "texts"), MISTAKES)
def test_a_mistake_is_named_with_its_line_and_its_remedy(
    tmp_path: Path, old: str, new: str, line: int, texts: list[str]
):
    at, text = the_error(tmp_path, changed(old, new))
    assert at == line, text
    assert all(part in text for part in texts), text


@pytest.mark.parametrize("content", ["", "# nothing\n", "- name: e\n", "experiments"])
def test_a_file_that_declares_nothing_says_how_to_begin(tmp_path: Path, content: str):
    line, text = the_error(tmp_path, content)
    assert line == 1
    assert "begin with the line `experiments:`" in text


def test_a_file_in_another_encoding_is_refused_at_its_line(tmp_path: Path):
    line, text = the_error(tmp_path, GOOD.replace("treatment", "größer").encode("latin-1"))
    assert (line, text) == (8, "not UTF-8: save the file in UTF-8")


def test_a_key_that_overrides_a_merged_one_is_found_at_its_own_line(tmp_path: Path):
    line, text = the_error(tmp_path, MERGED)
    assert line == 7
    assert "variants[1].weight" in text


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str):
    with pytest.raises(ExperimentError, match="name a file that can be read") as caught:
        load_experiments(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_mistake_in_json_is_named_with_its_path():
    variants = [{"name": "a", "weight": 1, "strategy": {}}, {"name": "b", "weight": 0, "strategy": {}}]
    with pytest.raises(EddyError, match=r":1: experiments\[0\]\.variants\[1\]\.weight: Expected `float` > 0"):
        experiments_from([{"name": "e", "variants": variants}])


def test_an_experiment_that_names_no_goal_is_judged_by_the_settings_one(tmp_path: Path):
    file = tmp_path / "experiments.yaml"
    file.write_text(GOOD.replace("coverage: 0.5", "analysis: {goal: value}"))
    assert [one.analysis.goal for one in load_experiments(file, "activity").declared] == ["value", "activity"]
    assert [one.analysis.goal for one in load_experiments(file).declared] == ["value", "ctr"]
