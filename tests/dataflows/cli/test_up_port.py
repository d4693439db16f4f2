"""Which port `eddy up` gives the door."""

import socket
from collections.abc import Iterator

import pytest

from dataflows.cli.up import _port
from dataflows.errors import EddyError
from dataflows.run.infrastructure import ServeSettings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        yield int(somebody.getsockname()[1])


def test_a_port_that_was_asked_for_and_is_taken_is_refused(taken: int):
    with pytest.raises(EddyError, match=f"port {taken} is taken.*EDDY_SERVE__PORT"):
        _port(ServeSettings(port=taken))


def test_the_usual_port_gives_way_and_says_so(taken: int, capsys: pytest.CaptureFixture[str]):
    found = _port(ServeSettings.model_construct(port=taken, _fields_set=set()))
    assert found != taken
    assert f"port {taken} is taken, so the door takes {found}" in capsys.readouterr().err
