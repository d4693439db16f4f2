"""The command `eddy`: one sub-command a module of `dataflows.cli`."""

import sys

import typer

from dataflows.cli import (
    backtest,
    broker,
    demo,
    doctor,
    models,
    replay,
    results,
    run,
    simulate,
    topics,
    train,
    tune,
)
from dataflows.errors import fixable

HELP = """
Real-time recommendation on streams: behaviour events in, recommendation slates out.

Everything is set by EDDY_ variables in the environment: `eddy doctor --settings` lists them all.

Without a cluster at hand, `eddy broker` runs a Kafka broker on this machine; then `eddy topics create` makes
the topics, and `eddy doctor` says whether all is well.
"""

app = typer.Typer(
    name="eddy", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown"
)
app.add_typer(topics.app)
app.add_typer(models.app)
app.command("broker")(broker.serve)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("replay")(replay.replay_messages)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("results")(results.results)
app.command("simulate")(simulate.simulate_experiments)
app.command("backtest")(backtest.backtest)
app.command("doctor")(doctor.examine)


def main() -> None:
    """Run the command line; an error that a person can fix ends it with the text alone and exit code 1."""
    try:
        app()
    except Exception as error:
        known = fixable(error)
        if known is None:
            raise
        sys.stderr.write(f"eddy: {known}\n")
        sys.exit(1)
