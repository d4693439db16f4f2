"""Makes the recovery stores of all flows as a release leaves them, with the topics that they go on from.

Once a release, in a checkout of it, with nothing of this file's tree on the path but the file:
`PYTHONPATH=. python .../tests/golden/make_stores.py .../tests/golden/stores_<commit>.tar.gz`.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NOW = 1_700_000_000_000
N_USERS, N_ITEMS = 6, 12
EXPERIMENTS = """\
experiments:
  - name: page
    analysis: {goal: ctr}
    variants:
      - {name: control, weight: 1, strategy: {ranker: blend}}
      - {name: treatment, weight: 1, strategy: {ranker: blend, diversity: 0.4}}
"""
SETTINGS = {
    "EDDY_HTTP__ENABLED": "false",
    "EDDY_RECOVERY__PARTITIONS": "1",
    "EDDY_LEARN__SHARDS": "2",
    "EDDY_RANKER__NAME": "ftrl",
}


def events(first: int, last: int) -> bytes:
    """Return the events of numbers from `first` to before `last`, as lines."""
    lines = [
        json.dumps(
            {
                "event_id": f"e-{n}",
                "user_id": f"u-{n % N_USERS}",
                "item_id": f"i-{(n * 7) % N_ITEMS}",
                "event_type": "purchase" if n % 11 == 0 else "click",
                "timestamp": NOW + 20_000 * n,
            }
        )
        for n in range(first, last)
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def catalog() -> bytes:
    """Return the items, as lines."""
    lines = [
        json.dumps({"item_id": f"i-{n}", "title": f"Lantern {n}", "categories": [f"c{n % 3}"]}) for n in range(N_ITEMS)
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def settings_for(folder: Path) -> dict[str, str]:
    """Name the folder's topics, stores and experiments."""
    return SETTINGS | {
        "EDDY_TOPICS__FOLDER": str(folder / "topics"),
        "EDDY_RECOVERY__FOLDER": str(folder / "recovery"),
        "EDDY_EXPERIMENTS_FILE": str(folder / "experiments.yaml"),
    }


def run(flow: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a flow over the folder to the end of its topics."""
    command = [sys.executable, "-m", "dataflows", "run", flow]
    return subprocess.run(command, env=os.environ | settings_for(folder), capture_output=True, text=True, check=False)


def make(folder: Path) -> None:
    """Run all flows over the first events."""
    (folder / "topics").mkdir()
    (folder / "topics" / "events.jsonl").write_bytes(events(0, 60))
    (folder / "topics" / "catalog.jsonl").write_bytes(catalog())
    (folder / "experiments.yaml").write_text(EXPERIMENTS)
    for flow in ("recommend", "learn", "evaluate"):
        done = run(flow, folder)
        if done.returncode:
            raise SystemExit(done.stderr)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        with tarfile.open(sys.argv[1], "w:gz", compresslevel=9) as archive:
            for path in sorted(Path(name).iterdir()):
                archive.add(path, path.name)
