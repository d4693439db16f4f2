"""A person in all flows is erased, with proof; and no older store, nor a lost one, brings them back."""

import os
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.flows import DEADLINE_S, FlowUnderTest, Platform
from tests.kafka.test_evaluate import EXPERIMENTS

pytestmark = pytest.mark.kafka

PERSON = "person-with-a-long-id"
FLOWS = ("recommend", "learn", "evaluate")


class Installation:
    """Three flows on a prefix of topics, and the command line beside them."""

    def __init__(self, broker: str, prefix: str, folder: Path, **settings: str) -> None:
        self.folder, self.store = folder, folder / "store"
        experiments = folder / "experiments.yaml"
        experiments.write_text(EXPERIMENTS)
        self.settings = {
            "EDDY_EXPERIMENTS_FILE": str(experiments),
            "EDDY_PRIVACY__SECRETS": '["a secret"]',
            "EDDY_PRIVACY__SIGNING_KEY": b64encode(bytes(range(32))).decode(),
            "EDDY_RECOVERY__EPOCH_INTERVAL_S": "1",
            "EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S": "1",
            "EDDY_LEARN__SHARDS": "2",
        } | settings
        self._environment = self.settings | {
            "EDDY_KAFKA__BOOTSTRAP_SERVERS": broker,
            "EDDY_TOPICS__PREFIX": prefix,
            "EDDY_RECOVERY__FOLDER": str(self.store),
        }
        self.flows = [FlowUnderTest(broker, prefix, self.store, flow, **self.settings) for flow in FLOWS]

    def start(self) -> None:
        for flow in self.flows:
            flow.start()

    def stop(self) -> None:
        for flow in self.flows:
            assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()

    def eddy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dataflows", *arguments]
        environment = os.environ | self._environment | {"COLUMNS": "200"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.faults
def test_an_erased_person_is_found_nowhere_and_comes_back_from_no_store(
    broker: str, topics: Callable[..., str], tmp_path: Path
):
    prefix = topics()
    platform, installed = Platform(broker, prefix), Installation(broker, prefix, tmp_path)
    try:
        others = [f"other-{number}" for number in range(8)]
        platform.write_acts([PERSON, *others] * 5)
        installed.start()
        platform.wait_for("recommendations", 45)
        platform.write_acts([PERSON, *others])
        platform.wait_for("recommendations", 54)
        installed.stop()
        shutil.copytree(installed.store, tmp_path / "older")
        before = installed.eddy("export", PERSON)
        assert '"events": 6' in before.stdout, before.stderr
        installed.start()

        erased = installed.eddy("erase", PERSON, "--wait", "--timeout", str(DEADLINE_S))
        assert erased.returncode == 0, erased.stderr
        assert all(place in erased.stdout for place in ("recommend.profile", "learn.transitions", "evaluate.outcomes"))
        installed.stop()
        verified = installed.eddy("verify-erasure", PERSON)
        assert verified.returncode == 0, verified.stdout + verified.stderr

        for is_lost in (False, True):
            shutil.rmtree(installed.store)
            installed.store.mkdir() if is_lost else shutil.copytree(tmp_path / "older", installed.store)
            installed.start()
            platform.write_acts(others)
            platform.wait_for("recommendations", 55 + 8 + 8 * is_lost)
            installed.stop()
            verified = installed.eddy("verify-erasure", PERSON)
            assert verified.returncode == 0, verified.stdout + verified.stderr
        for name, file in ((file.name, file) for file in sorted(installed.store.glob("*/part-*"))):
            assert PERSON.encode() not in file.read_bytes(), name
    finally:
        for flow in installed.flows:
            flow.close()
