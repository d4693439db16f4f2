"""Where the project's files are, seen from a test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
"""State as earlier releases wrote it."""
