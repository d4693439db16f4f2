import signal
from pathlib import Path
from typing import Any

import pytest

from dataflows.chaos import copies as copies_module
from dataflows.chaos.copies import Copies


class AProcess:
    """Runs until it is killed, frozen or not."""

    started: list["AProcess"]

    def __init__(self, *_arguments: Any) -> None:
        self.code: int | None = None
        self.started.append(self)

    def send(self, number: signal.Signals) -> None:
        if number is signal.SIGKILL:
            self.code = -number

    def wait(self) -> int:
        assert self.code is not None
        return self.code


def test_a_frozen_copy_beside_its_successor_is_not_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    AProcess.started = []
    monkeypatch.setattr(copies_module, "FlowProcess", AProcess)
    copies = Copies("recommend", {}, tmp_path, lambda: 2, lambda: 1)
    for _ in range(3):
        copies.start()
        copies.processes[0].send(signal.SIGSTOP)
    copies.kill()
    assert [process.code for process in AProcess.started] == 6 * [-signal.SIGKILL]
