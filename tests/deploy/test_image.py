"""The image: what it is made of, as whom it runs, and what it does when it is started."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from dataflows.cli.main import app
from tests.deploy.manifests import (
    BASE,
    DEPLOY,
    ROOT,
    compose,
    container_of,
    dockerfile,
    entry_point,
    image_environment,
    known_settings,
    kustomized,
    only,
    pods,
    runtime_stage,
    settings_in,
)


def test_both_stages_start_from_one_pinned_slim_python() -> None:
    bases = {instruction.value.split()[0] for instruction in dockerfile() if instruction.name == "FROM"}

    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+", bases.pop())


def test_the_shipped_stage_installs_no_package_and_no_compiler() -> None:
    commands = " ".join(instruction.value for instruction in runtime_stage() if instruction.name == "RUN")

    assert not re.search(r"\b(apt-get|apt|apk|pip|gcc|g\+\+|build-essential|curl|wget)\b", commands)


def test_every_package_of_the_image_is_pinned_to_the_tested_version() -> None:
    commands = [instruction.value for instruction in dockerfile() if instruction.name == "RUN"]
    installs = re.findall(r"pip install [^;&]*", " && ".join(commands))

    assert len(installs) == 5
    for install in installs:
        by_hash = "--require-hashes --requirement requirements.lock" in install
        assert by_hash or "--constraint constraints.txt" in install or "--no-deps /wheels/" in install


def test_the_container_runs_as_a_numbered_user_other_than_root() -> None:
    user, group = only("USER").split(":")

    assert int(user) == int(group) == 10_001


def test_no_secret_is_built_into_the_image() -> None:
    given = [instruction for instruction in dockerfile() if instruction.name in ("ARG", "ENV")]

    assert given
    assert not [line for line in given if re.search(r"(?i)password|secret|token|api_?key", line.value)]


def test_only_what_is_copied_into_the_image_is_sent_to_the_builder() -> None:
    copies = [i.value.split()[:-1] for i in dockerfile() if i.name == "COPY" and "--from" not in i.value]
    copied = {source.removeprefix("./") for sources in copies for source in sources}
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    admitted = {pattern[1:] for pattern in patterns if pattern.startswith("!")}

    assert "*" in patterns
    assert admitted == copied
    assert all((ROOT / source).exists() for source in copied)


def test_everything_that_a_flow_writes_is_on_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = image_environment()
    settings = settings_in(environment, monkeypatch)
    volume = PurePosixPath(only("VOLUME"))

    assert PurePosixPath(environment["NUMBA_CACHE_DIR"]).is_relative_to(volume)
    assert settings.recovery.folder is not None
    assert settings.recovery.folder.is_relative_to(volume)


def test_the_endpoint_is_reached_from_outside_on_the_exposed_port(monkeypatch: pytest.MonkeyPatch) -> None:
    http = settings_in(image_environment(), monkeypatch).http

    assert http.enabled
    assert http.host == "0.0.0.0"  # noqa: S104 - in a container, whose network decides who reaches it
    assert str(http.port) == only("EXPOSE")


def test_every_setting_that_the_deployment_names_exists() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix not in {".png", ".pyc"}]
    named = {name for path in files for name in re.findall(r"EDDY_[A-Z0-9_]+", path.read_text())}

    assert named
    assert named <= {*known_settings(), "EDDY_"}


def commands() -> list[tuple[str, ...]]:
    """Return every command line that some container is started with."""
    services = [service for service in compose()["services"].values() if "build" in service]
    arguments = [json.loads(only("CMD")), *(service["command"] for service in services)]
    arguments += [container_of(pod)["args"] for pod in pods(kustomized(BASE)).values()]
    return sorted({tuple(command) for command in arguments})


@pytest.mark.parametrize("command", commands())
def test_the_command_line_knows_every_command_that_a_container_is_started_with(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])

    assert result.exit_code == 0, result.output
    assert " ".join(["Usage: eddy", *command[:1]]) in result.stdout


def test_the_entry_point_is_the_command_line(tmp_path: Path) -> None:
    program, *arguments = entry_point()
    # Of the machine's environment only the path, and another folder, as in the container.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)}

    run = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments, "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "Usage: eddy" in run.stdout


@contextmanager
def an_endpoint(status: int) -> Iterator[int]:
    """Answer every request on a free loopback port with one status."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def health_check(port: int) -> int:
    """Run the image's health check against a port, behind a proxy that does not exist."""
    command = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    environment = image_environment() | {"http_proxy": "http://127.0.0.1:9", "EDDY_HTTP__PORT": str(port)}
    run = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, timeout=60, check=False)
    return run.returncode


def test_a_flow_that_answers_is_healthy() -> None:
    with an_endpoint(200) as port:
        assert health_check(port) == 0


def test_a_flow_that_says_it_is_unwell_or_says_nothing_is_unhealthy() -> None:
    with an_endpoint(503) as port:
        assert health_check(port) == 1
    assert health_check(port) == 1
