"""The command `eddy`: one sub-command a module of `dataflows.cli`, which is imported when the command is asked for."""

import importlib
import logging
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from dataflows.errors import fixable
from dataflows.run.logs import speaks_json

HELP = """
Real-time recommendation on streams: behaviour events in, recommendation slates out.

Everything is set in `eddy.yaml` in the working folder, or in the file that EDDY_CONFIG names, and by EDDY_ variables in
the environment, which win: `eddy doctor --settings` lists them all.

Without a cluster at hand, `eddy broker` runs a Kafka broker on this machine; then `eddy topics create` makes
the topics, and `eddy doctor` says whether all is well.
"""

COMMANDS = {
    "topics": ("topics:app", "Make, list and check the topics that the flows read and write."),
    "models": (
        "models:app",
        "List the versions of rankers and of the sequence model, and choose which of them serves.",
    ),
    "broker": (
        "broker:serve",
        "Run a Kafka broker on this machine until Ctrl-C or SIGTERM: for trying Eddy out, not for production.",
    ),
    "chaos": (
        "chaos:chaos",
        "Kill the flows while events arrive, alone and in close pairs, and count what came of each event.",
    ),
    "demo": ("demo:demo", "Stream real film ratings through a broker and watch slates come back."),
    "run": (
        "run:run",
        "Run a flow until SIGTERM or Ctrl-C, which drain it: state is kept, nothing is lost, exit code 0.",
    ),
    "state": ("state:app", "Look into the recovery store of a flow, keep it small, back it up and put a backup back."),
    "up": (
        "up:up",
        "Run everything on this machine until Ctrl-C: a broker, the topics, the three flows, and the HTTP door.",
    ),
    "serve": (
        "serve:serve",
        "Serve slates over HTTP until SIGTERM or Ctrl-C: newest slates, requests that wait, streams, events, a page.",
    ),
    "replay": (
        "replay:replay_messages",
        "Write a file's messages onto a topic; or, with --dead-letters, the originals of the dead letters.",
    ),
    "import": (
        "import_files:import_files",
        "Make events and a catalog of MovieLens, RecBole, CSV, Parquet, GA4, Segment and Snowplow files.",
    ),
    "train": (
        "train:train_ranker",
        "Train a ranker on past events, and say what it is worth beside the blend; or what finds candidates.",
    ),
    "tune": ("tune:tune_ranker", "Search for the blend's weights and for a network's settings within a budget."),
    "results": (
        "results:results",
        "Show what an experiment says now: its figures by variant, and how the lift of its goal has moved.",
    ),
    "evaluate-policy": (
        "evaluate_policy:evaluate",
        "Say what another strategy or ranker would have earned, from the slates that were drawn as a whole.",
    ),
    "simulate": (
        "simulate:simulate_experiments",
        "Plan an experiment: simulate it many times, by the rules that judge the real ones.",
    ),
    "backtest": ("backtest:backtest", "Judge the recommender, and every simpler way, on what people really did."),
    "erase": (
        "erasure:erase",
        "Forget a user: write an erasure, and take the user's dead letters away.",
    ),
    "verify-erasure": (
        "erasure:verify_erasure",
        "Look for a user everywhere, and check the receipts' signatures; exit code 1 where anything is found.",
    ),
    "export": (
        "erasure:export",
        "Print what is kept of a user as JSON: the profile, slates, assignments, and what the topics still hold.",
    ),
    "tail": (
        "tail:tail",
        "Print slates, events, dead letters and all other messages as a person reads them, as they are written.",
    ),
    "schema": (
        "schema:schema",
        "Write JSON Schemas of the messages and of eddy.yaml, and an AsyncAPI 3 document, or compare them.",
    ),
    "doctor": ("doctor:examine", "Look at settings, broker, topics, recovery folder, experiments and checkpoint."),
}
"""By name: where the command is, and its first line of help. Hence `eddy --help` imports none of them."""


class CommandGroup(TyperGroup):
    """Lists commands by their lines above, and imports the one that is asked for: torch alone takes a second."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the arguments begin with, as its own module declares it."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and load_command(str(known.name)), rest


def new_app(**options: Any) -> typer.Typer:
    """Make a command line without commands."""
    return typer.Typer(
        name="eddy", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown", **options
    )


def load_command(name: str) -> Any:
    """Import a command, which takes seconds where it needs torch and compiled kernels."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(importlib.import_module(f"dataflows.cli.{module}"), attribute)
    app = new_app()
    if isinstance(found, typer.Typer):
        app.add_typer(found)
    else:
        app.command(name)(found)
    return get_group(app).commands[name]


app = new_app(cls=CommandGroup, help=HELP)
for command_name, (_, line) in COMMANDS.items():
    app.command(command_name, help=line)(lambda: None)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"eddy {version('eddy-recs')}")
        raise typer.Exit


@app.callback()
def eddy(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


def main() -> None:
    """Run the command line; an error that a person can fix ends it with the text alone and exit code 1."""
    try:
        app()
    except Exception as error:
        known = fixable(error)
        if speaks_json():
            logging.getLogger(__name__).critical("%s", known or error, exc_info=error if known is None else None)
            sys.exit(1)
        if known is None:
            raise
        sys.stderr.write(f"eddy: {known}\n")
        sys.exit(1)
