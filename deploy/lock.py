"""Writes requirements.lock: what the image installs, with the SHA-256 of every file that pip may take for it.

Versions are those of constraints.txt; hashes are those that the package index names to pip. PyTorch is not in it, since
its index is the builder's choice, and each index has builds of its own; the packages that it needs are.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
PYTHON = "3.12"
"""The image's."""
PLATFORMS = ("x86_64", "aarch64")
MANYLINUX = (*(f"manylinux_2_{minor}" for minor in range(36, 16, -1)), "manylinux2014")
"""What Debian 12, of glibc 2.36, can run; pip takes no older tag from a newer one by itself."""
CHOSEN = "torch"
ACCELERATOR = ("nvidia-", "cuda-", "triton")
"""What a PyTorch for GPUs brings; it comes from PyTorch's index, too."""


def wanted() -> list[str]:
    """List what Eddy needs at run time, and what PyTorch needs, without PyTorch."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    image = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "sys_platform": "linux", "extra": ""}
    needs = [Requirement(text) for text in [*declared, *(requires(CHOSEN) or ())]]
    return [
        f"{need.name}{need.specifier}"
        for need in needs
        if need.name != CHOSEN
        and not need.name.startswith(ACCELERATOR)
        and (need.marker is None or need.marker.evaluate(image))
    ]


def resolve(requirements: Iterable[str], machine: str) -> list[tuple[str, str, str]]:
    """Let pip choose the files for a machine: (name, version, SHA-256) of each, nothing installed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-",
            "--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp", "--target", folder,
            "--constraint", str(ROOT / "constraints.txt"),
            *(argument for old in MANYLINUX for argument in ("--platform", f"{old}_{machine}")),
            *requirements,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip itself
    if done.returncode:
        raise SystemExit(f"lock: pip found no files for {machine}:\n{done.stderr}")
    return [
        (about["name"], about["version"], entry["download_info"]["archive_info"]["hashes"]["sha256"])
        for entry in json.loads(done.stdout)["install"]
        for about in [entry["metadata"]]
    ]


def main() -> None:
    """Write the lock."""
    hashes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for machine in PLATFORMS:
        for name, version, digest in resolve(wanted(), machine):
            hashes[re.sub(r"[-_.]+", "-", name).lower(), version].add(digest)
    lines = [
        " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{digest}" for digest in sorted(digests))])
        for (name, version), digests in sorted(hashes.items())
    ]
    head = (
        f"# Made by `make lock` for Python {PYTHON} on Linux ({', '.join(PLATFORMS)}); without PyTorch: SECURITY.md.\n"
    )
    LOCK.write_text(head + "\n".join(lines) + "\n")
    sys.stdout.write(f"{LOCK.name}: {len(lines)} packages\n")


if __name__ == "__main__":
    main()
