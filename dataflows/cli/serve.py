"""`eddy serve`: the HTTP door."""

import asyncio
import logging

from rich.console import Console

from dataflows.run import settings as configuration
from dataflows.serve.app import serve as serve_door


def serve() -> None:
    """Serve slates over HTTP until SIGTERM or Ctrl-C: newest slates, requests that wait, streams, events, a page.

    It follows the topics of EDDY_KAFKA__BOOTSTRAP_SERVERS, and keeps a copy of the newest slates and of the catalog
    in EDDY_SERVE__STORE. Start as many as you like behind a balancer: each follows all of it. The contract is at
    /openapi.json. It listens on this machine alone, unless EDDY_SERVE__HOST and EDDY_SERVE__TOKENS say otherwise.
    """
    settings = configuration.load()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    console = Console(stderr=True)
    status = console.status("reading the newest slates and the catalog")
    status.start()

    def announce(address: str) -> None:
        status.stop()
        console.print(f"[bold]serve[/bold] answers on {address}; its contract: {address}/openapi.json", highlight=False)

    try:
        asyncio.run(serve_door(settings, announce))
    finally:
        status.stop()
