"""Off-policy estimates on simulated logs whose truth is known: `python -m tests.benchmarks.policy [LOGS]`."""

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.models.offline.policy.audience import AS_LOGGED, BY_TASTE, ByTaste, missed_by

N_SLATES = 1_200


def main() -> None:
    """Print how often 95% intervals hold the truth, and how far estimates lie from it, in standard errors."""
    n_logs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    table = Table("users look", "strategy", "estimate", "logs", "held by 95%", "mean error", "its deviation")
    cases = {
        "each place, as is known": missed_by("examination", BY_TASTE, ByTaste(), n=N_SLATES, n_logs=n_logs),
        "each place by itself": missed_by("position", BY_TASTE, ByTaste(), n=N_SLATES, n_logs=n_logs),
        "down to the first act": missed_by("cascade", AS_LOGGED, "logged", n=N_SLATES, n_logs=n_logs, cascade=True),
    }
    for look, missed in cases.items():
        for name, errors in missed.items():
            strategy = "another, with chance" if look.startswith("each") else "the log's order, two places"
            held = float(np.mean(np.abs(errors) < 1.96))
            table.add_row(
                look, strategy, name, str(n_logs), f"{held:.1%}", f"{np.mean(errors):+.2f}", f"{np.std(errors):.2f}"
            )
    Console().print(table)


if __name__ == "__main__":
    main()
