"""Flows that crash where a test wants it."""

from typing import Any

import pytest
from bytewax.errors import BytewaxRuntimeError


class CrashError(Exception):
    """Ends a flow that a test crashes."""


class CrashOnce:
    """Makes one call of a function, the n-th from now on, crash."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, calls: int) -> None:
        self._left = calls
        original = getattr(owner, name)

        def crash(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise CrashError
            return original(*arguments)

        monkeypatch.setattr(owner, name, crash)

    def run_twice(self, run: Any) -> None:
        """Run a flow into its crash, and to its end."""
        with pytest.raises((CrashError, BytewaxRuntimeError)):
            run.run()
        run.run()
        assert self._left < 0
