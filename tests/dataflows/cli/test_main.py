import os
import signal
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dataflows.cli import broker
from dataflows.cli.main import COMMANDS, app, load_command, main
from dataflows.cli.setting_list import all_settings
from dataflows.demo.broker_process import BrokerProcess, free_port
from dataflows.kafka.check import check_topics
from models.rankers.checkpoint import SHIPPED

SLOW = {"torch", "numba", "river", "bytewax", "confluent_kafka", "pydantic", "scipy", "numpy"}
EXPERIMENTS = """\
experiments:
  - name: one
    variants:
      - {name: control, weight: 1, strategy: {}}
      - {name: treatment, weight: 1, strategy: {}}
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EDDY_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")


def eddy(*arguments: str, **settings: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300", **settings})


def eddy_as_a_program(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["eddy", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def loaded_by(code: str) -> set[str]:
    """Run code in a process of its own; return which slow packages it has loaded when it ends."""
    at_end = f"import atexit, sys; atexit.register(lambda: print('loaded', *({SLOW} & sys.modules.keys())))"
    done = subprocess.run([sys.executable, "-c", f"{at_end}\n{code}"], capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "loaded", done.stderr
    return set(last[1:])


def row(result: Result, subject: str) -> str:
    """Return doctor's first finding on a subject."""
    return next(line for line in result.output.splitlines() if line.split()[1:2] == [subject])


def test_doctor_looks_at_the_sequence_model(tmp_path: Path) -> None:
    assert "sequence" not in {line.split()[1:2][0] for line in eddy("doctor").output.splitlines() if line.split()[1:2]}
    nowhere = eddy("doctor", EDDY_SEQUENCE_MODEL=str(tmp_path / "nowhere"))
    assert "EDDY_SEQUENCE_MODEL" in row(nowhere, "sequence")


@pytest.mark.parametrize(
    "command",
    [
        (),
        *((name,) for name in COMMANDS),
        ("topics", "create"),
        ("topics", "list"),
        ("topics", "check"),
        ("models", "list"),
        ("models", "promote"),
        ("models", "rollback"),
        ("models", "release"),
    ],
)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = eddy(*command, "--help")
    assert result.exit_code == 0
    assert " ".join(["Usage: eddy", *command]) in result.output


def test_help_lists_every_command_with_its_own_first_line() -> None:
    output = eddy("--help").output
    for name, (_, line) in COMMANDS.items():
        assert str(load_command(name).help).split("\n\n")[0].replace("\n", " ") == line
        assert any(row.split()[1:2] == [name] for row in output.splitlines())


def test_an_unknown_command_is_refused_with_the_nearest_one() -> None:
    result = eddy("topcs")
    assert result.exit_code == 2
    assert "Did you mean 'topics'?" in result.output


def test_the_version_is_that_of_the_installed_package() -> None:
    result = eddy("--version")
    assert (result.exit_code, result.output) == (0, f"eddy {version('eddy-recs')}\n")


@pytest.mark.parametrize("arguments", ["['eddy', '--help']", "['eddy', '--version']", "['eddy']"])
def test_help_and_version_load_neither_networks_nor_kernels_nor_the_engine(arguments: str) -> None:
    code = f"import sys; sys.argv = {arguments}; from dataflows.cli.main import main; main()"
    assert loaded_by(code) == set()


def test_the_lists_of_names_load_nothing_heavy() -> None:
    assert loaded_by("import models.names") == set()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("EDDY_HTTP__PORT", "many", "EDDY_HTTP__PORT: Input should be a valid integer"),
        ("EDDY_HTP__PORT", "1", "unknown setting EDDY_HTP__PORT"),
        ("EDDY_KAFKA__OPTIONS", "{bad", "EDDY_KAFKA__OPTIONS: this is no JSON"),
        ("EDDY_STRATEGY__N_ITEM", "5", "unknown setting EDDY_STRATEGY__N_ITEM: did you mean EDDY_STRATEGY__N_ITEMS?"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    assert eddy_as_a_program(monkeypatch, "topics", "list") == 1
    error = capsys.readouterr().err
    assert error.startswith("eddy: ")
    assert reason in error
    assert error.count("\n") == 1


def test_a_fault_of_the_program_itself_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("dataflows.cli.topics.load", fail)
    monkeypatch.setattr(sys, "argv", ["eddy", "topics", "list"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_checking_topics_without_a_broker_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflows.cli.topics.check_topics", partial(check_topics, timeout_s=0.3))
    result = eddy("topics", "check")
    assert result.exit_code == 1
    assert "no Kafka broker answers at 127.0.0.1:" in result.output
    assert "EDDY_KAFKA__BOOTSTRAP_SERVERS" in result.output
    assert "eddy broker" in result.output


def test_topics_cannot_be_created_where_they_are_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("EDDY_TOPICS__FOLDER", str(tmp_path))
    assert eddy_as_a_program(monkeypatch, "topics", "create") == 1
    assert "unset EDDY_TOPICS__FOLDER" in capsys.readouterr().err


def test_doctor_names_a_wrong_setting_and_looks_no_further() -> None:
    result = eddy("doctor", EDDY_HTTP__PORT="many")
    assert result.exit_code == 1
    assert "EDDY_HTTP__PORT" in row(result, "settings")
    assert "broker" not in result.output


def test_doctor_says_that_no_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflows.cli.examinations.TIMEOUT_S", 0.3)
    result = eddy("doctor")
    assert result.exit_code == 1
    assert row(result, "settings").startswith("ok")
    assert "run `eddy broker`" in row(result, "broker")


def test_doctor_warns_where_recovery_is_off(tmp_path: Path) -> None:
    off = eddy("doctor", EDDY_TOPICS__FOLDER=str(tmp_path), EDDY_RECOVERY__FOLDER="")
    assert row(off, "recovery").startswith("warning")
    on = eddy("doctor", EDDY_TOPICS__FOLDER=str(tmp_path), EDDY_RECOVERY__FOLDER=str(tmp_path / "new" / "er"))
    assert row(on, "recovery").startswith("ok")
    assert not (tmp_path / "new").exists()


def test_doctor_warns_where_others_may_look_into_a_store(tmp_path: Path) -> None:
    (tmp_path / "recommend").mkdir(mode=0o750)
    result = eddy("doctor", EDDY_RECOVERY__FOLDER=str(tmp_path), EDDY_TOPICS__FOLDER=str(tmp_path))
    assert row(result, "recovery").startswith("warning")
    assert "chmod" in result.stdout


def test_doctor_refuses_a_recovery_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    result = eddy("doctor", EDDY_TOPICS__FOLDER=str(tmp_path), EDDY_RECOVERY__FOLDER=str(tmp_path / "taken"))
    assert result.exit_code == 1
    assert row(result, "recovery").startswith("error")


def test_doctor_names_the_line_of_a_wrong_experiment(tmp_path: Path) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_text(EXPERIMENTS)
    settings = {"EDDY_TOPICS__FOLDER": str(tmp_path), "EDDY_EXPERIMENTS_FILE": str(file)}
    assert row(eddy("doctor", **settings), "experiments").startswith("ok")
    file.write_text(EXPERIMENTS.replace("control, weight", "control, wait"))
    result = eddy("doctor", **settings)
    assert result.exit_code == 1
    assert f"{file}:4: " in row(result, "experiments")


@pytest.mark.parametrize("content", [None, b"no checkpoint"])
def test_doctor_refuses_a_missing_or_broken_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "model"
    if content is not None:
        file.write_bytes(content)
    result = eddy("doctor", EDDY_TOPICS__FOLDER=str(tmp_path), EDDY_CHECKPOINT=str(file))
    assert result.exit_code == 1
    assert row(result, "checkpoint").startswith("error")
    assert str(file) in row(result, "checkpoint")


def test_doctor_says_which_ranker_learns_and_from_what(tmp_path: Path) -> None:
    def finding(**settings: str) -> str:
        return row(eddy("doctor", EDDY_TOPICS__FOLDER=str(tmp_path), **settings), "ranker")

    assert "none learns" in finding()
    assert "mlp learns, but serves nobody" in finding(EDDY_RANKER__NAME="mlp")
    assert "gru learns, from nothing on" in finding(EDDY_RANKER__NAME="gru", EDDY_STRATEGY__RANKER="gru")


def test_doctor_refuses_an_unknown_device_and_a_checkpoint_of_another_ranker(tmp_path: Path) -> None:
    def finding(**settings: str) -> str:
        return row(eddy("doctor", EDDY_TOPICS__FOLDER=str(tmp_path), **settings), "ranker")

    assert "there is no device 'abacus' here, there are cpu" in finding(EDDY_RANKER__DEVICE="abacus")
    refused = finding(EDDY_RANKER__NAME="gru", EDDY_CHECKPOINT=str(SHIPPED))
    assert "holds the ranker 'mlp', but EDDY_RANKER__NAME is 'gru'" in refused


def test_every_listed_default_is_a_valid_value(tmp_path: Path) -> None:
    listed = {setting.variable: setting.default for setting in all_settings()}
    result = eddy("doctor", **{**listed, "EDDY_TOPICS__FOLDER": str(tmp_path)})
    assert row(result, "settings").startswith("ok")


def test_settings_are_listed_with_default_and_meaning() -> None:
    listed = {setting.variable: setting for setting in all_settings()}
    assert listed["EDDY_TOPICS__PARTITIONS"].default == "4"
    assert "eddy topics create" in listed["EDDY_TOPICS__PARTITIONS"].text
    assert "MMR" in listed["EDDY_STRATEGY__DIVERSITY"].text
    assert listed["EDDY_RECOVERY__FOLDER"].default == ""
    output = eddy("doctor", "--settings").output
    assert all(f"{setting.variable}={setting.default}" in output for setting in listed.values())


def test_settings_are_listed_with_a_presets_values() -> None:
    output = eddy("doctor", "--settings", "--preset", "courses").output
    assert "EDDY_PRESET=courses" in output
    assert 'EDDY_EVENTS__OWNING_TYPES=["complete"]' in output
    assert eddy("doctor", "--settings", EDDY_PRESET="courses").output == output


def test_an_unknown_preset_is_refused_with_the_names_of_all() -> None:
    result = eddy("backtest", "--protocol", "session", "--preset", "vidoe")
    assert result.exit_code == 2
    assert "'session-shop', 'shop', 'video', 'articles'" in result.output


class StoppedAtOnce(BrokerProcess):
    """A broker that gets a signal to stop as soon as it runs."""

    kind = "embedded"
    description = "a broker that is stopped at once"

    def commands(self) -> list[list[str]]:
        raise NotImplementedError

    def start(self) -> None:
        os.kill(os.getpid(), self.signal)

    signal = signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_broker_cleanly(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    monkeypatch.setattr(StoppedAtOnce, "signal", number)
    monkeypatch.setattr(broker, "EmbeddedBroker", StoppedAtOnce)
    before = signal.getsignal(number)
    result = eddy("broker", KAFKA_HOME="")
    assert result.exit_code == 0
    assert "export EDDY_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:" in result.output
    assert signal.getsignal(number) == before


def test_a_broker_says_that_its_port_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    monkeypatch.setattr("dataflows.demo.broker_process.is_free", lambda _port: False)
    assert eddy_as_a_program(monkeypatch, "broker", "--port", "9092") == 1
    assert "port 9092 is taken" in capsys.readouterr().err
