"""`eddy train` and `eddy tune` on files."""

import json
import os
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.run.settings import load
from models.offline.backtest.config import BacktestConfig
from models.rankers.checkpoint import load_checkpoint
from models.sequence.checkpoint import load_sequence_checkpoint
from tests.models.offline.builders import NOW, SECOND, a_catalog, news, random_past


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def past(tmp_path: Path) -> Path:
    path = tmp_path / "shop events.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(event) for event in random_past(500, 25, 60)))
    (tmp_path / "items.jsonl").write_bytes(b"\n".join(orjson.dumps(item) for item in a_catalog(60)))
    return path


FEW = ("--min-examples", "2")


def eddy(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


def test_training_prints_each_epoch_and_the_accuracy_of_the_ranker(past: Path, tmp_path: Path):
    out = tmp_path / "gru.safetensors"
    items = tmp_path / "items.jsonl"
    told = eddy("train", past, "--out", out, "--catalog", items, "--model", "gru", "--max-epochs", "2", *FEW).output
    assert "epoch 1: loss" in told
    assert "epoch 2: loss" in told
    assert "test loss" in told
    assert "NDCG@10" in told
    loaded = load_checkpoint(out)
    assert (loaded.kind, loaded.loss) == ("gru", "softmax")
    assert loaded.version.startswith("shop events-")


def rounds(path: Path) -> Path:
    """Write a file of sixty people who go round the items."""
    events = [
        {
            "event_id": f"e-{act}-{user}", "user_id": f"u-{user}", "item_id": f"i-{(user + act) % 20}",
            "event_type": "click", "timestamp": NOW + (60 * act + user) * SECOND,
        }
        for act in range(12)
        for user in range(60)
    ]  # fmt: skip
    path.write_bytes(b"\n".join(map(orjson.dumps, events)))
    return path


def test_a_sequence_model_is_trained_and_gone_on_from(tmp_path: Path):
    past, first, second = rounds(tmp_path / "rounds.jsonl"), tmp_path / "first", tmp_path / "second"
    told = eddy("train", past, "--out", first, "--model", "sequence", "--max-epochs", "2").output
    assert "epoch 2: loss" in told
    assert "NDCG@10" in told
    assert load_sequence_checkpoint(first).version.startswith("rounds-")
    told = eddy("train", past, "--out", second, "--model", "sequence", "--from", first, "--max-epochs", "1").output
    assert load_sequence_checkpoint(second).provenance["started_from"] == load_sequence_checkpoint(first).version
    refused = eddy("train", past, "--out", second, "--model", "sequence", "--from", past)
    assert "--from" in str(refused.exception)


def test_without_files_the_topics_are_learned_but_not_what_erased_people_did_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, out = tmp_path / "topics", tmp_path / "sequence"
    folder.mkdir()
    rounds(folder / "events.jsonl")
    (folder / "catalog.jsonl").write_bytes(b"\n".join(orjson.dumps(item) for item in a_catalog(20)))
    monkeypatch.setenv("EDDY_TOPICS__FOLDER", str(folder))
    train = ("train", "--out", out, "--model", "sequence", "--max-epochs", "1")
    assert eddy(*train).exit_code == 0
    of_all = load_sequence_checkpoint(out)
    assert of_all.version.startswith("topics-")
    assert len(of_all.vocabulary.attributes)
    half_way = NOW + 60 * 6 * SECOND - SECOND
    erased = [{"erasure_id": f"x-{user}", "user_id": f"u-{user}", "requested_at": half_way} for user in range(10)]
    (folder / "erasures.jsonl").write_bytes(b"\n".join(map(orjson.dumps, erased)))
    eddy(*train)
    assert of_all.provenance["n_acts"] - load_sequence_checkpoint(out).provenance["n_acts"] == 10 * 6


def test_topics_without_events_are_nothing_to_learn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDDY_TOPICS__FOLDER", str(tmp_path))
    (tmp_path / "events.jsonl").write_bytes(b"")
    assert "events holds no event to learn from" in str(eddy("train", "--out", tmp_path / "r").exception)


def test_weights_of_the_sources_are_fitted_where_that_is_worth_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    past, out = tmp_path / "news.jsonl", tmp_path / "weights.json"
    past.write_bytes(b"\n".join(map(orjson.dumps, news())))
    monkeypatch.setenv("EDDY_STRATEGY__SOURCES", '{"trending": 0.1, "covisitation": 1.0, "session_knn": 1.0}')
    told = eddy("train", past, "--out", out, "--model", "sources").output
    assert "recall@100" in told
    monkeypatch.setenv("EDDY_STRATEGY__SOURCES_BY_SESSION", out.read_text())
    fitted = load().strategy.sources_by_session
    assert [longer.from_acts for longer in fitted] == [0, 1, 2, 5]
    assert fitted[0].sources["trending"] > 0.2


def test_weights_that_are_as_good_as_they_can_be_are_not_written(tmp_path: Path):
    out = tmp_path / "weights.json"
    assert (
        "is not written" in eddy("train", rounds(tmp_path / "rounds.jsonl"), "--out", out, "--model", "sources").output
    )
    assert not out.exists()


def test_weights_need_a_past_and_two_sources(tmp_path: Path, past: Path, monkeypatch: pytest.MonkeyPatch):
    asked = ("train", past, "--out", tmp_path / "w", "--model", "sources")
    assert "are needed at least" in str(eddy(*asked).exception)
    monkeypatch.setenv("EDDY_STRATEGY__SOURCES", '{"trending": 1}')
    assert "one source" in str(eddy(*asked).exception)


def test_training_goes_on_from_a_checkpoint_by_its_own_loss(past: Path, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    eddy("train", past, "--out", first, "--model", "linear", "--loss", "mse", "--max-epochs", "1", *FEW)
    eddy("train", past, "--out", second, "--from", first, "--fine-tune", "adapter", "--max-epochs", "1", *FEW)
    loaded = load_checkpoint(second)
    assert (loaded.kind, loaded.loss) == ("linear", "mse")
    assert loaded.provenance["started_from"] == load_checkpoint(first).version


def test_another_kind_than_that_of_the_checkpoint_to_go_on_from_is_refused(past: Path, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    eddy("train", past, "--out", first, "--model", "mlp", "--max-epochs", "1", *FEW)
    told = eddy("train", past, "--out", second, "--from", first, "--model", "gru", *FEW)
    assert told.exit_code == 2
    assert "'mlp', not 'gru'" in told.output
    assert not second.exists()


def test_on_too_few_examples_nothing_is_trained_nor_tuned_and_they_are_counted(past: Path, tmp_path: Path):
    past.write_bytes(b"\n".join(past.read_bytes().splitlines()[:150]))
    for asked in (("train", past, "--out", tmp_path / "r"), ("tune", past)):
        assert "examples" in (refused := str(eddy(*asked).exception))
        assert "200 are needed" in refused
    assert not (tmp_path / "r").exists()


def test_training_is_by_default_the_backtests(past: Path, tmp_path: Path):
    for name, options in (
        ("default", ()),
        ("said", ("--max-epochs", "10", "--learning-rate", "4e-3", "--batch-size", "128")),
    ):
        eddy("train", past, "--out", tmp_path / name, *options, *FEW)
    default, said = (load_checkpoint(tmp_path / name).digest for name in ("default", "said"))
    assert default == said
    fit = BacktestConfig().fit
    assert (fit.max_epochs, fit.learning_rate, fit.batch_size) == (10, 4e-3, 128)


def test_training_writes_logs_for_tensorboard(past: Path, tmp_path: Path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = tmp_path / "board"
    eddy("train", past, "--out", tmp_path / "r", "--max-epochs", "3", "--tensorboard", board, *FEW)
    logs = events.EventAccumulator(str(board))
    logs.Reload()
    assert [scalar.step for scalar in logs.Scalars("loss/validation")] == [1, 2, 3]
    assert {"loss/train", "loss/test", "test/ndcg/mlp", "test/ndcg/blend"} <= set(logs.Tags()["scalars"])


def test_training_takes_the_pages_that_were_opened_meanwhile_into_account(past: Path, tmp_path: Path):
    pages = tmp_path / "requests.jsonl"
    opened = [{"request_id": f"r-{k}", "user_id": f"u-{k % 25}", "timestamp": NOW + k * SECOND} for k in range(400)]
    pages.write_bytes(b"\n".join(map(orjson.dumps, opened)))
    for name, requests in (("without", []), ("with", ["--requests", pages])):
        eddy("train", past, "--out", tmp_path / name, "--model", "linear", "--max-epochs", "1", *FEW, *requests)
    n_without, n_with = (load_checkpoint(tmp_path / name).provenance["n_examples"] for name in ("without", "with"))
    assert n_with > 1.5 * n_without


def test_training_makes_the_slates_that_the_settings_say(past: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDDY_EVENTS__TRIGGERS", '["dislike"]')
    refused = eddy("train", past, "--out", tmp_path / "r", "--max-epochs", "1")
    assert "nobody did anything" in str(refused.exception)


def test_going_on_from_a_file_that_is_no_checkpoint_names_the_option(past: Path, tmp_path: Path):
    (tmp_path / "bad").write_bytes(b"garbage")
    assert "--from" in str(eddy("train", past, "--out", tmp_path / "r", "--from", tmp_path / "bad").exception)


def test_tuning_ends_with_the_setting_or_the_command_that_uses_the_best_trial(past: Path, tmp_path: Path):
    pytest.importorskip("optuna")
    found = tmp_path / "trials.json"
    blend = eddy("tune", past, "--ranker", "blend", "--trials", "3", "--json", found, *FEW)
    assert "EDDY_STRATEGY__SOURCES='{" in blend.output
    assert [trial["ranker"] for trial in json.loads(found.read_bytes())] == ["blend"] * 3
    linear = eddy("tune", past, "--ranker", "linear", "--trials", "2", *FEW).output
    command = next(line for line in linear.splitlines() if line.startswith("eddy train"))
    assert f"'{past}'" in command
    assert "--model linear --loss" in command


def test_tuning_refuses_an_unknown_ranker(past: Path):
    assert "no ranker is called svd" in eddy("tune", past, "--ranker", "svd").output
