"""`eddy broker`: a Kafka broker on this machine, for as long as the command runs."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.demo.broker import EmbeddedBroker, KraftBroker, running

if TYPE_CHECKING:
    from types import FrameType

Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.", show_default="a free one")]
Folder = Annotated[
    Path | None,
    typer.Option(help="Keep the data here, for the next time.", show_default="a temporary folder", file_okay=False),
]
Home = Annotated[
    Path | None,
    typer.Option(
        envvar="KAFKA_HOME",
        help="Run Apache Kafka, whose jars are in this folder's libs/, by the machine's Java (17 or newer).",
        show_default="the embedded broker of the `demo` extra",
    ),
]

USE = """\
{description} serves {servers}

  export EDDY_KAFKA__BOOTSTRAP_SERVERS={servers}
  eddy topics create
  eddy doctor

{kept}. Ctrl-C stops it."""


def serve(port: Port = None, folder: Folder = None, kafka_home: Home = None) -> None:
    """Run a Kafka broker on this machine until Ctrl-C or SIGTERM: for trying Eddy out, not for production.

    It listens on 127.0.0.1 alone, and says which settings make the other commands use it.
    """
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: "FrameType | None") -> None:
        stop.set()

    process = KraftBroker(kafka_home, folder, port) if kafka_home else EmbeddedBroker(folder, port)
    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with running(process) as started:
            kept = f"Its data is kept in {folder}" if folder else "Its data goes with it"
            broker = started.broker
            typer.echo(USE.format(description=broker.description, servers=broker.bootstrap_servers, kept=kept))
            stop.wait()
            typer.echo("stopping")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
