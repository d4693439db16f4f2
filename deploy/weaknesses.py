"""Asks pip-audit for known weaknesses of what is installed, and takes no silence for an answer.

pip-audit itself passes where its service knows none of the packages, as behind a mirror that has files alone.
"""

import json
import subprocess
import sys
import sysconfig
from typing import Any

UNKNOWN_BY_RIGHT = {"eddy-recs", "torch"}
"""This project, and PyTorch, of which each index has builds under versions of its own."""


def examine(dependencies: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Turn pip-audit's findings into lines, and an exit code."""
    lines = [
        f"PROBLEM {found['name']} {found['version']}: {weak['id']}, fixed in "
        f"{', '.join(weak['fix_versions']) or 'none yet'}"
        for found in dependencies
        for weak in found.get("vulns", [])
    ]
    skipped = [found["name"] for found in dependencies if "skip_reason" in found]
    unexpected = sorted(set(skipped) - UNKNOWN_BY_RIGHT)
    n_audited = len(dependencies) - len(skipped)
    if not n_audited:
        lines.append(
            "PROBLEM none of the packages could be looked up: the service (pypi.org) cannot be reached from here, or a "
            "mirror answers in its place. Nothing is known of weaknesses; run this where the service can be reached"
        )
    elif unexpected:
        lines.append(f"PROBLEM could not be looked up: {', '.join(unexpected)}")
    lines.append(f"{n_audited} packages looked up, {len(skipped)} not")
    return lines, 1 if len(lines) > 1 else 0


def main(pip_audit: str) -> int:
    """Print what is found; return the exit code."""
    command = [
        pip_audit, "--path", sysconfig.get_path("purelib"), "--skip-editable", "--progress-spinner", "off",
        "--format", "json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - of `make audit`
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.stderr.write(
            "PROBLEM pip-audit could not ask its service (pypi.org), so nothing is known of weaknesses:\n"
            f"{done.stderr[-600:]}\n"
        )
        return 1
    lines, code = examine(dependencies)
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
