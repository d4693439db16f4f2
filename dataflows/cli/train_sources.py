"""`eddy train --model sources`: weights of the candidate sources, fitted to past events."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from dataflows.cli.progress import walking
from dataflows.errors import EddyError
from models.messages import Event, Item, Request
from models.offline.train_sources import train_sources
from models.offline.walk import WalkConfig

VARIABLE = "EDDY_STRATEGY__SOURCES_BY_SESSION"


def train(
    past: list[Event | Request],
    items: list[Item],
    name: str,
    out: Path,
    config: WalkConfig,
    seed: int,
    console: Console,
) -> None:
    """Fit weights, write them where they are worth it, and print what came of it.

    Raises
    ------
    EddyError : there is too little to learn from, or the file cannot be written.
    """
    with walking(console) as bar:
        walked = bar.add_task("walking through the past", total=len(past))
        try:
            fitted = train_sources(past, items, config, lambda n, of: bar.update(walked, completed=n, total=of), seed)
        except ValueError as error:
            raise EddyError(f"{name}: {error}") from error
    if fitted is None:
        console.print(f"{name}: the weights that are set are as good on the newest slates, so {out} is not written")
        return
    n = config.strategies[0].n_candidates
    table = Table(
        "weights", f"NDCG@{n}", f"recall@{n}", title=f"on the newest {fitted.n_judged:,} slates that could win"
    )
    for weights, (ndcg, recall) in (("as set", fitted.before), ("fitted", fitted.after)):
        table.add_row(weights, f"{ndcg:.4f}", f"{recall:.4f}")
    console.print(table)
    try:
        out.write_bytes(msgspec.json.encode(fitted.by_session) + b"\n")
    except OSError as error:
        raise EddyError(f"{out} cannot be written: {error.strerror}") from error
    console.print(
        f"weights for {len(fitted.by_session)} lengths of a session, in {out}: for {VARIABLE}", highlight=False
    )
