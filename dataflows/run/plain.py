"""Each flow as the environment says, for a plain Bytewax worker: `python -m bytewax.run "dataflows.run.plain:learn()"`.

Bytewax's own flags decide on recovery and processes.
"""

from bytewax.dataflow import Dataflow

from dataflows.run.worker import plain_worker


def recommend() -> Dataflow:
    """Lay out the flow that makes slates."""
    return plain_worker("recommend")


def learn() -> Dataflow:
    """Lay out the flow that learns."""
    return plain_worker("learn")


def evaluate() -> Dataflow:
    """Lay out the flow that says what works."""
    return plain_worker("evaluate")
