"""`eddy demo`: real people's behaviour in, recommendations out, on this machine."""

import os
import webbrowser
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from dataflows.demo.show import run_demo
from dataflows.run import settings as configuration


def demo(
    events: Annotated[int, typer.Option(min=100, help="Ratings to stream.")] = 5_000,
    rate: Annotated[float, typer.Option(min=1, help="Events a second.")] = 100.0,
    headless: Annotated[bool, typer.Option("--headless", help="Draw no live view.")] = False,
    sampled: Annotated[
        float, typer.Option(min=0, max=1, help="Share of slates to draw whole; they say what another order would earn.")
    ] = 0.0,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the live page in a browser, where there is one.")] = True,
) -> None:
    """Stream real film ratings through a broker and watch slates come back.

    It starts a broker of its own, or uses KAFKA_HOME or EDDY_KAFKA__BOOTSTRAP_SERVERS where they are set; runs the
    three flows and the HTTP door; judges each slate by what its user rated next; and ends with what the experiment
    says: by itself, or where its page was opened in a browser, at Ctrl-C. On the page you can be a user yourself.
    """
    console = Console(stderr=True)
    settings = configuration.load()
    real = settings.kafka.names_a_cluster
    live = console.is_terminal and not headless

    def open_page(address: str) -> bool:
        console.print(f"live page: [bold]{address}[/bold] (be a user yourself, and watch the stream)", highlight=False)
        return live and browser and webbrowser.open(address)

    report = run_demo(
        events,
        rate,
        settings,
        os.environ.get("KAFKA_HOME"),
        real,
        console,
        live=live,
        sampled=sampled,
        on_page=open_page,
    )
    latency = report["latency_ms"]
    console.print(
        f"{report['events']} events in, {report['slates']} slates out at {report['events_per_s']} events/s; "
        f"event written → slate in hand p50 {latency['p50']} ms, p99 {latency['p99']} ms; "
        f"{report['dead_letters']} dead letters",
        highlight=False,
    )
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
