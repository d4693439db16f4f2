"""Builds the sdist and the wheel, installs the wheel alone in an empty environment, and lets it answer a slate.

`python deploy/dist.py FOLDER`: what a release is made of lies in the folder afterwards. The wheel is built from the
sdist, so both are whole.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).parents[1]
READY_S = 900.0
"""A first start compiles every kernel, on a busy machine for minutes."""
SLATE_S = 60.0
CALL = build_opener(ProxyHandler({})).open


def say(what: str) -> None:
    """Print a step."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def run(command: list[str], folder: Path) -> str:
    """Run a command; what it says ends the program where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-4_000:]}{done.stderr[-4_000:]}")
    return done.stdout


def main(folder: Path) -> None:
    """Build, install, and ask for a slate."""
    say("building the sdist, and the wheel from it")
    run([sys.executable, "-m", "build", "--outdir", str(folder.resolve())], ROOT)
    wheel = max(folder.resolve().glob("*.whl"), key=lambda path: path.stat().st_mtime)
    with tempfile.TemporaryDirectory(prefix="eddy-dist-") as temporary:
        place = Path(temporary)
        say(f"installing {wheel.name} into an empty environment")
        venv.create(place / "venv", with_pip=True)
        pip = [str(place / "venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "-c", str(ROOT / "constraints.txt"), f"{wheel}[demo]"], place)
        say(run([str(place / "venv" / "bin" / "eddy"), "--version"], place).strip())
        answer_a_slate(place)
    say(f"{', '.join(sorted(path.name for path in folder.iterdir()))} in {folder}")


def answer_a_slate(place: Path) -> None:
    """Start `eddy up` as a newcomer would, send what the README sends, and stop it."""
    log = place / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(place / "venv" / "bin" / "eddy"), "up", "--no-browser"],
            cwd=place, env=os.environ | {"EDDY_SERVE__PORT": "0"}, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        address = wait_for(lambda: _address(log, process), READY_S, log)
        say(f"eddy up answers on {address}")
        _send(address, "/items", "PUT", [{"item_id": f"i-{n}", "title": f"Film {n}"} for n in range(3)])
        _send(address, "/events", "POST", [
            {"user_id": user, "item_id": item, "event_type": "click"}
            for user in ("u-6", "u-7") for item in ("i-0", "i-1")
        ])  # fmt: skip
        slate = wait_for(lambda: _slate(address), SLATE_S, log)
        say(f"a slate of {len(slate['items'])} items, made by {slate['model_version']}")
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=120)
    if code:
        sys.exit(f"eddy up ended with {code}:\n{log.read_text()[-4_000:]}")


def wait_for(look: Any, seconds: float, log: Path) -> Any:
    """Look until something is there."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            sys.exit(f"nothing came within {seconds:.0f} s:\n{log.read_text()[-4_000:]}")
        time.sleep(0.2)
    return found


def _address(log: Path, process: subprocess.Popen[bytes]) -> str | None:
    if process.poll() is not None:
        sys.exit(f"eddy up ended by itself with {process.returncode}:\n{log.read_text()[-4_000:]}")
    found = re.search(r"the live page: (\S+)", log.read_text())
    return found[1] if found else None


def _send(address: str, path: str, method: str, body: object) -> None:
    CALL(Request(address + path, json.dumps(body).encode(), method=method), timeout=30)  # noqa: S310 - our own door


def _slate(address: str) -> dict[str, Any] | None:
    try:
        with CALL(f"{address}/users/u-7/slate", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except HTTPError:
        return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
