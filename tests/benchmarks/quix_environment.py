"""An environment for Quix Streams, which needs an older confluent-kafka than the core's own."""

import subprocess
import sys
import sysconfig

from tests.places import ROOT

FOLDER = ROOT / "build" / "quix"
PINNED = ("quixstreams==3.28.0", "confluent-kafka==2.12.2")


def quix_python() -> str | None:
    """Return the Python of an environment with Quix Streams, made where it is missing; None where it cannot be.

    Everything else it takes from this process's environment, behind its own packages.
    """
    python, made = FOLDER / "bin" / "python", FOLDER / "made-of"
    wanted = "\n".join((sys.executable, *PINNED))
    if not made.exists() or made.read_text() != wanted:
        commands = (
            [sys.executable, "-m", "venv", "--clear", str(FOLDER)],
            [str(python), "-m", "pip", "install", "--quiet", "--quiet", *PINNED],
        )
        if any(subprocess.run(command, check=False).returncode for command in commands):
            return None
        (own,) = FOLDER.glob("lib/python*/site-packages")
        (own / "core.pth").write_text(sysconfig.get_path("purelib") + "\n")
        made.write_text(wanted)
    return str(python)
