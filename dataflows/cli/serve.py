"""`eddy serve`: the HTTP door."""

import asyncio

from rich.console import Console

from dataflows.run import settings as configuration
from dataflows.run.logs import announce, set_up_logs
from dataflows.serve.app import serve as serve_door


def serve() -> None:
    """Serve slates over HTTP until SIGTERM or Ctrl-C: newest slates, requests that wait, streams, events, a page.

    It follows the topics of EDDY_KAFKA__BOOTSTRAP_SERVERS, and keeps a copy of the newest slates and of the catalog
    in EDDY_SERVE__STORE, or on the server of EDDY_SERVE__STORE_URL. Start as many as you like behind a balancer: each
    follows all of it. The contract is at /openapi.json. It listens on this machine alone, unless EDDY_SERVE__HOST and
    EDDY_SERVE__TOKENS say otherwise.
    """
    settings = configuration.load()
    set_up_logs(settings.log_level, settings.log_format)
    status = Console(stderr=True).status("reading the newest slates and the catalog")
    status.start()

    def ready(address: str) -> None:
        status.stop()
        announce(f"[bold]serve[/bold] answers on {address}; its contract: {address}/openapi.json", settings.log_format)

    try:
        asyncio.run(serve_door(settings, ready))
    finally:
        status.stop()
