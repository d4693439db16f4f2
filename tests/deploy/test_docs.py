"""Every command of the docs exists and is run by a test, here or elsewhere; every tutorial's code runs."""

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dataflows.cli.main import COMMANDS, load_command
from dataflows.run.settings import load, variables
from dataflows.serve.openapi import document
from models.rankers.networks import KINDS
from tests.deploy.commands import Command, blocks_of, commands_of
from tests.models.candidates import test_sources as sources_contract
from tests.models.rankers import test_learner_contract as ranker_contract
from tests.places import ROOT

DOCS = ROOT / "deploy" / "docs"
SOURCES = runpy.run_path(str(DOCS / "sources.py"))
OWN = sorted(path.relative_to(ROOT).as_posix() for path in (DOCS / "pages").rglob("*.md"))
PAGES = ["README.md", *sorted(set(SOURCES["WHOLE"].values()) - {"CHANGELOG.md"}), *OWN]
"""Each text once, before pages include sections of each other; a changelog also names what is gone."""
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split())  # type: ignore[index]

ALONE = {"--version", "--help", "schema", "simulate"}
"""Commands of `eddy` that need no topics."""
ON_FILES = {"run", "doctor", "results"}
"""Those that go by files where EDDY_TOPICS__FOLDER names a folder of them."""
_UP = "tests/dataflows/serve/test_up.py"
_TRAINING = "tests/dataflows/cli/test_training.py"
_ERASED = ("tests/kafka/test_erasure.py", "test_an_erased_person_is_found_nowhere_and_comes_back_from_no_store")
ELSEWHERE = {
    "make demo": ("tests/kafka/test_demo.py", "test_the_demo_answers_each_rating_and_reports_what_came_of_them"),
    "make test": ("tests/test_architecture.py", "test_the_files_that_are_looked_at_are_the_project"),
    "eddy up": (_UP, "test_ctrl_c_ends_the_flows_the_door_and_the_broker"),
    "eddy serve": (_UP, "test_clicks_become_a_slate_a_request_gets_its_own_and_a_stream_pushes_each"),
    "curl": (_UP, "test_the_curl_lines_of_the_readme_give_what_it_says"),
    "eddy topics create": ("tests/kafka/test_cli_topics.py", "test_create_makes_all_topics_once"),
    "eddy doctor": ("tests/kafka/test_cli_topics.py", "test_doctor_finds_broker_and_topics_in_order"),
    "eddy run": ("tests/flows/test_offline.py", "test_two_commands_turn_a_folder_of_events_into_slates"),
    "eddy results": ("tests/dataflows/cli/test_results.py", "test_the_newest_result_is_shown_with_its_figures"),
    "eddy tail": ("tests/kafka/test_tail.py", "test_a_users_messages_are_told_and_no_others"),
    "eddy import": (
        "tests/dataflows/imports/test_tables.py",
        "test_a_mapped_table_is_read_and_what_is_left_out_is_counted_with_reasons_and_places",
    ),
    "eddy train": (_TRAINING, "test_training_prints_each_epoch_and_the_accuracy_of_the_ranker"),
    "eddy tune": (_TRAINING, "test_tuning_ends_with_the_setting_or_the_command_that_uses_the_best_trial"),
    "eddy backtest": (
        "tests/dataflows/cli/test_backtest.py",
        "test_a_checkpoint_is_judged_as_it_is_in_its_own_row_and_in_the_pipelines",
    ),
    "eddy models list": (
        "tests/kafka/test_cli_models.py",
        "test_versions_are_listed_promoted_rolled_back_and_released",
    ),
    "eddy models follow": (
        "tests/kafka/test_follow_sequence.py",
        "test_what_it_has_learned_goes_into_service_and_the_next_process_goes_on_from_there",
    ),
    "eddy models publish": ("tests/kafka/test_cli_models.py", "test_a_sequence_model_is_published_and_taken_back"),
    "eddy evaluate-policy": (
        "tests/dataflows/cli/test_evaluate_policy.py",
        "test_a_strategy_is_judged_by_the_slates_that_were_drawn",
    ),
    "eddy erase": _ERASED,
    "eddy verify-erasure": _ERASED,
    "eddy export": _ERASED,
    "docker build": (
        "tests/deploy/test_image.py",
        "test_only_what_is_copied_into_the_image_is_sent_to_the_builder",
    ),
    "docker compose": ("tests/deploy/test_compose.py", "test_the_file_follows_the_compose_specification"),
}
"""By command: a test that runs it, or what it starts, where it needs a broker, a container or a past to learn from."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def commands_on(page: str) -> Iterator[Command]:
    exported: dict[str, str] = {}
    for block in blocks_of(text_of(page), "sh", "console"):
        yield from commands_of(block.text, exported)


def name_of(command: Command) -> str:
    """Name a command as ELSEWHERE does: with its subcommand, where it has one."""
    program, *rest = command.words
    groups = {"eddy": 1, "make": 1, "docker": 1}
    n = groups.get(program, 0) + (rest[:1] in (["topics"], ["models"], ["state"]))
    return " ".join([program, *rest[:n]])


def needs_nothing(command: Command) -> bool:
    """Say whether a command runs in an empty folder: without a broker, a container or a past."""
    if not command.words or command.words[0] in {"grep", "cat"}:
        return True
    folder = command.settings.get("EDDY_TOPICS__FOLDER")
    return command.words[0] == "eddy" and command.words[1] in ALONE | (ON_FILES if folder else set())


EVERY_COMMAND = [
    pytest.param(page, command, id=f"{page}: {' '.join(command.words)[:80]}")
    for page in PAGES
    for command in commands_on(page)
    if command.words
]


@pytest.mark.parametrize(("page", "command"), EVERY_COMMAND)
def test_every_command_of_the_docs_exists_as_it_stands_there(page: str, command: Command):
    program, *rest = command.words
    if program == "eddy":
        check_eddy(rest)
    elif program == "make":
        assert rest[0] in TARGETS
        assert all(re.search(rf"^{word.partition('=')[0]} \?=", MAKEFILE, re.MULTILINE) for word in rest[1:])
    elif program == "curl":
        check_curl(rest)
    elif program == "docker":
        assert (ROOT / rest[rest.index("-f") + 1]).is_file()
    else:
        assert program in {"grep", "cat"}, f"{page}: nothing is known of {program}"


def check_eddy(arguments: list[str]) -> None:
    """Parse what stands behind `eddy` as the command line does, without running it."""
    if arguments[0].startswith("--"):
        assert arguments in (["--version"], ["--help"])
        return
    command, name = load_command(arguments[0]), arguments[0]
    rest = arguments[1:]
    while hasattr(command, "commands"):
        command, name, *rest = command.commands[rest[0]], rest[0], *rest[1:]
    command.make_context(name, list(rest))


def check_curl(arguments: list[str]) -> None:
    """Hold a call against the door's contract, or the probes of a flow."""
    url = next(word for word in arguments if ":" in word.partition("/")[0] or word.startswith("http"))
    path = "/" + url.removeprefix("http://").partition("/")[2].partition("?")[0]
    posts = "-d" in arguments
    method = arguments[arguments.index("-X") + 1].lower() if "-X" in arguments else "post" if posts else "get"
    if posts:
        json.loads(arguments[arguments.index("-d") + 1])
    found = [known for known in document()["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path)]
    assert path in {"/readyz", "/healthz", "/metrics"} or method in document()["paths"][found[0]]


@pytest.mark.parametrize("page", PAGES)
def test_what_the_docs_set_is_a_setting_and_a_valid_value(page: str, monkeypatch: pytest.MonkeyPatch):
    given = {name: value for command in commands_on(page) for name, value in command.settings.items()}
    eddys = {name: value for name, value in given.items() if name.startswith("EDDY_")}
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)
    for name, value in eddys.items():
        monkeypatch.setenv(name, value)
    load()
    named = set(re.findall(r"\bEDDY_[A-Z0-9_]*[A-Z0-9]\b", text_of(page)))
    sections = {name.partition("__")[0] for name in variables()}
    assert named <= {*variables(), *sections}


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_running_text_exist_with_their_options(page: str):
    for found in re.findall(r"`eddy ([a-z][^`]*)`", text_of(page)):
        words = found.split()
        assert words[0] in COMMANDS, found
        command = load_command(words[0])
        options = {option for one in [command, *getattr(command, "commands", {}).values()] for parameter in one.params
                   for option in parameter.opts}  # fmt: skip
        assert {word for word in words if re.fullmatch(r"--?[a-z-]+", word)} <= options | {"--help"}, found


def test_each_command_is_run_here_or_by_a_test_that_is_named():
    unknown = {
        name_of(command)
        for page in PAGES
        for command in commands_on(page)
        if not needs_nothing(command) and name_of(command) not in ELSEWHERE
    }
    assert unknown == set()


@pytest.mark.parametrize(("file", "test"), sorted(set(ELSEWHERE.values())))
def test_a_test_that_is_named_is_there(file: str, test: str):
    assert f"def {test}(" in text_of(file)


def script_of(page: str) -> str:
    """Return the blocks of a page that run in an empty folder, as one script."""
    exported: dict[str, str] = {}
    blocks = [
        block.text
        for block in blocks_of(text_of(page), "sh", "console")
        if all(list(map(needs_nothing, commands_of(block.text, exported))))
    ]
    return "\n".join(blocks)


def ran(page: str, folder: Path) -> str:
    """Write the files that a page shows into a folder, run what it says there, and return what that printed."""
    for block in blocks_of(text_of(page)):
        if block.title and block.language != "python":
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDDY_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "EDDY_HTTP__ENABLED": "false",  # the port may be somebody else's
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script_of(page)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


WITH_SCRIPTS = [page for page in OWN if script_of(page)]


@pytest.mark.parametrize("page", [page for page in WITH_SCRIPTS if not page.endswith("own-topics.md")])
def test_what_a_page_says_to_run_in_a_folder_runs(page: str, tmp_path: Path):
    (tmp_path / "topics").mkdir()
    assert ran(page, tmp_path)


@pytest.mark.slow
def test_the_page_on_own_topics_ends_with_the_slate_and_the_dead_letter_that_it_promises(tmp_path: Path):
    said = ran("deploy/docs/pages/own-topics.md", tmp_path)
    slate, letter = (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    assert (slate["user_id"], slate["items"][0]["item_id"]) == ("u-4", "ronin")
    assert letter["reason"] == "unknown_event_type"
    assert (tmp_path / "contract" / "asyncapi.json").is_file()


def tutorial(page: str, folder: Path) -> tuple[ModuleType, list[str]]:
    """Import the file that a page shows, from a folder; return it and the code blocks behind it."""
    file, *rest = blocks_of(text_of(f"deploy/docs/pages/{page}.md"), "python")
    path = folder / Path(file.title).name
    path.write_text(file.text)
    spec = importlib.util.spec_from_file_location(f"tutorial_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module, [block.text for block in rest]


def test_the_source_of_the_tutorial_finds_what_it_says_and_keeps_the_contract_of_all_sources(tmp_path: Path):
    module, blocks = tutorial("write-a-source", tmp_path)
    for block in blocks:
        exec(block, vars(module))  # noqa: S102 - the page's own code
    source = module.Arrivals()
    for promise in (
        sources_contract.test_candidates_are_sorted_distinct_padded_and_as_many_as_there_are,
        sources_contract.test_generating_leaves_nothing_behind,
        sources_contract.test_other_row_numbers_give_the_same_candidates_in_the_same_order,
        sources_contract.test_unknown_items_unknown_segments_and_users_without_a_past_are_survived,
        sources_contract.test_an_empty_table_has_no_candidates,
        sources_contract.test_a_cause_is_named_only_for_the_rows_that_are_asked_for,
    ):
        promise(source=source)


def test_the_ranker_of_the_tutorial_learns_what_it_says_and_keeps_the_contract_of_all_rankers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module, blocks = tutorial("write-a-ranker", tmp_path)
    kinds: dict[Any, Any] = KINDS
    monkeypatch.setitem(
        kinds, module.FM.kind, (module.FM, module.FMConfig)
    )  # and away again, as the page's block puts it
    for block in blocks:
        exec(block, vars(module))  # noqa: S102 - the page's own code
    for promise in (
        ranker_contract.test_the_same_examples_make_the_same_learner,
        ranker_contract.test_predicting_leaves_no_trace,
        ranker_contract.test_ids_that_nobody_has_seen_are_scored_and_learned,
        ranker_contract.test_what_it_remembers_does_not_grow,
        ranker_contract.test_a_restored_learner_goes_on_as_if_nothing_had_been,
        ranker_contract.test_a_new_learner_comes_back_from_its_snapshot,
        ranker_contract.test_it_finds_what_clicks_follow,
    ):
        promise(name="fm")
