"""TypeScript as tests use it: checked by `tsc --strict`, run by tsx; both are installed once, and kept in build/."""

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT

CONSUMERS = ROOT / "deploy" / "consumers"
INSTALL_S = 180
RUN_S = 120
CHECK = ("--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--types", "node")


def installed() -> Path:
    """Return a folder with the packages of deploy/consumers/package.json; skips where they cannot be had."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: Debian has them in the packages nodejs and npm")
    wanted = (CONSUMERS / "package.json").read_bytes()
    folder = ROOT / "build" / "typescript" / sha256(wanted).hexdigest()[:12]
    if folder.is_dir():
        return folder
    making = folder.with_name(f"{folder.name}-{id(wanted)}")
    making.mkdir(parents=True)
    (making / "package.json").write_bytes(wanted)
    # What the packages would run when they are installed is not needed.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(
            [npm, "install", *options], cwd=making, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
        if done.returncode:
            pytest.skip(f"npm cannot install TypeScript: {done.stderr.strip().splitlines()[-1:]}")
        if not folder.is_dir():
            making.rename(folder)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm has not installed TypeScript within {INSTALL_S} s")
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def checked(folder: Path, **files: str) -> Path:
    """Write files `NAME.ts` into a folder that has the packages, and check all of them; returns the folder."""
    packages = installed()
    (folder / "node_modules").symlink_to(packages / "node_modules")
    shutil.copy(packages / "package.json", folder)
    for name, text in files.items():
        (folder / f"{name}.ts").write_text(text)
    names = [f"{name}.ts" for name in files]
    done = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", *CHECK, *names], cwd=folder,
        capture_output=True, text=True, check=False, timeout=RUN_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def ran(folder: Path, name: str, *arguments: str) -> str:
    """Run a file of a folder that was checked; return what it printed."""
    done = subprocess.run(
        ["node", "node_modules/tsx/dist/cli.mjs", f"{name}.ts", *arguments], cwd=folder,
        capture_output=True, text=True, check=False, timeout=RUN_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def types_of(schema: str) -> str:
    """Write a JSON Schema of deploy/contract as TypeScript types: `Schema` and the name of each type."""
    document = json.loads((ROOT / "deploy" / "contract" / "schemas" / f"{schema}.json").read_text())
    named = document.get("$defs", {})
    lines = [f"export type Schema{name} = {_type(about)};" for name, about in named.items()]
    if "$ref" not in document:
        lines.append(f"export type Schema{schema} = {_type(document)};")
    return "\n".join(lines)


_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if "$ref" in schema:
        return "Schema" + schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return "(" + " | ".join(map(_type, schema["anyOf"])) + ")"
    if "enum" in schema:
        return "(" + " | ".join(map(json.dumps, schema["enum"])) + ")"
    if kind == "array":
        return f"{_type(schema.get('items', {}))}[]"
    if kind == "object" and "properties" in schema:
        required = schema.get("required", [])
        fields = (
            f"{json.dumps(name)}{'' if name in required else '?'}: {_type(about)}"
            for name, about in schema["properties"].items()
        )
        return "{ " + "; ".join(fields) + " }"
    return "Record<string, unknown>" if kind == "object" else _PLAIN.get(str(kind), "unknown")
