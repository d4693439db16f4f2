"""`python -m tests.fuzz --n N --seed S`: mutated messages of every topic through the flows.

It prints how many there were, what became of them by topic and outcome, and what escaped; 1 where anything did.
"""

import argparse
import json
import sys

from tests.fuzz.run import run


def main() -> int:
    """Run, and print the report."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=20_000, help="messages")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report = run(options.n, options.seed, lambda n: sys.stderr.write(f"\r{n:,} messages"))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if report["escapes"] else 0


sys.exit(main())
