"""Measures what grows with users and items: `python -m tests.benchmarks.growth`.

Prints one JSON object, and writes the same figures into `tests/benchmarks/GROWTH.md` and a picture beside it.
"""

import argparse
import json
import sys
from importlib.metadata import version

from rich.console import Console

from tests.benchmarks.growth.alone import alone
from tests.benchmarks.growth.items import measure_items
from tests.benchmarks.growth.page import write_page
from tests.benchmarks.growth.start import measure_start
from tests.benchmarks.growth.users import measure_users
from tests.benchmarks.pages import machine

SIZES = (10_000, 100_000, 1_000_000)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="*", default=SIZES, help="a million need 8 GB of memory and of disk")
    parser.add_argument("--items", type=int, nargs="*", default=SIZES, help="a million need 5 GB of memory")
    options = parser.parse_args()
    figures = {
        "machine": machine(),
        "arguments": " ".join(sys.argv[1:]),
        **{package: version(package) for package in ("bytewax", "numba", "numpy")},
        "users": {},
        "items": {},
    }
    with Console(stderr=True).status("starts of `eddy run recommend`") as status:
        figures["start"] = measure_start()
        for n in options.users:
            status.update(f"{n:,} users")
            figures["users"][str(n)] = measure_users(n)
        for n in options.items:
            status.update(f"{n:,} items")
            figures["items"][str(n)] = alone(measure_items, n)
    write_page(figures)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
