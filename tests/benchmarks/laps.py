"""One checkout's laps, run when asked: the worker of `tests.benchmarks.against`.

It is started by its path, in the checkout that is measured, and imports what that checkout calls by these names. It
reads a measure's name a line, and answers with its seconds by the clock and its CPU seconds.
"""

import sys
from pathlib import Path
from time import perf_counter, process_time

sys.path.insert(0, str(Path.cwd()))

import torch

from tests.benchmarks import flow as benchmark
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.engine import FOUR_SOURCES, settings_for, time_learn, time_recommend
from tests.benchmarks.world import World, make_world

N_PAST, N_PRESENT, N_ALONE = 4_000, 4_000, 400


def main() -> None:
    """Say `ready`, then run what each line asks for."""
    torch.set_num_threads(1)
    whole = make_world(N_PRESENT)
    world = World(whole.table, whole.past[:N_PAST], whole.present)
    recommender = benchmark.Recommender(world.table, benchmark.untrained(), n_threads=settings_for("blend").n_threads)
    recommender.warm_up()
    loops = {name: BareLoop(world, settings_for(name)) for name in ("blend", FOUR_SOURCES, "mlp")}
    # With all of the past: older checkouts make no queries of users who had none.
    queries = BareLoop(whole, settings_for("blend")).queries()[:N_ALONE]

    def alone() -> float:
        began = perf_counter()
        for query in queries:
            recommender.recommend([query])
        return perf_counter() - began

    def flow(name: str, *, recovery: bool = False) -> float:
        watch = time_recommend(world, recommender, settings_for(name), recovery=recovery)
        return watch.last_written - watch.started

    def learn() -> float:
        watch = time_learn(world, settings_for("blend"))
        return watch.all_read - watch.started

    measures = {
        "recommend, in memory": lambda: flow("blend"),
        "recommend, four sources": lambda: flow(FOUR_SOURCES),
        "recommend, mlp": lambda: flow("mlp"),
        "recommend, recovery on": lambda: flow("blend", recovery=True),
        "bare loop": lambda: loops["blend"].run(recommender).seconds,
        "bare loop, mlp": lambda: loops["mlp"].run(recommender).seconds,
        "a slate alone": alone,
        "learn": learn,
    }
    for measure in measures.values():
        measure()
    # As the flows do: a full collection would fall into one lap and not into another.
    (getattr(benchmark, "tune_gc", None) or benchmark.calm_collector)()
    say("ready")
    for line in sys.stdin:
        cpu = process_time()
        seconds = measures[line.strip()]()
        say(f"{seconds} {process_time() - cpu}")


def say(line: str) -> None:
    """Answer whoever asked."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
