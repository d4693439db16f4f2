"""Experiments declared in a test, read as a file of them is."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dataflows.run.experiments_file import load_experiments
from models.experiments.assign.assignment import Experiments


def experiments_from(declared: list[dict[str, Any]]) -> Experiments:
    """Read entries of a file's `experiments`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "experiments.json"
        path.write_text(json.dumps({"experiments": declared}))
        return load_experiments(path)
