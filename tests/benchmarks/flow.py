"""Measures the flows in memory, on one worker: `python -m tests.benchmarks.flow`.

Prints one JSON object, and writes the same figures into `tests/benchmarks/README.md`.
"""

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from dataflows.run.runtime import tune_gc
from models.names import FEATURES
from models.rankers.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.rankers.mlp import MLP, MLPConfig
from models.serving.recommender import Recommender
from tests.benchmarks.bare import BareLoop, Lap, time_alone, time_recommending
from tests.benchmarks.door import measure_door
from tests.benchmarks.engine import FOUR_SOURCES, STRATEGIES, Stopwatch, settings_for, time_learn, time_recommend
from tests.benchmarks.latency import measure_latency
from tests.benchmarks.pages import machine
from tests.benchmarks.report import write_table
from tests.benchmarks.world import World, make_world

ROUNDS = 3
RECOVERY = f"{FOUR_SOURCES}, recovery"
console = Console(stderr=True)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="timed events; one in four makes a slate")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="repeats, of which the fastest counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(options.events, options.rounds) | {"through_a_broker": measure_latency(), "door": measure_door()}
    write_table(figures)
    sys.stdout.write(json.dumps(figures) + "\n")


def measure(n_events: int, n_rounds: int) -> dict[str, Any]:
    """Measure everything, each round in turn, so that a slow moment of the machine falls on all alike."""
    with console.status("the shop") as status:
        world = make_world(n_events)
        recommender = Recommender(world.table, untrained(), n_threads=settings_for("blend").n_threads)
        recommender.warm_up()
        bare = BareLoop(world, settings_for("blend"))
        loops = {name: BareLoop(world, settings_for(name), bare.past) for name in STRATEGIES}
        warm_up(world, recommender)
        tune_gc()  # as `run_flow` does
        laps: dict[str, list[Lap]] = {name: [] for name in STRATEGIES}
        flows: dict[str, list[Stopwatch]] = {name: [] for name in (*STRATEGIES, RECOVERY, "learn")}
        for number in range(1, n_rounds + 1):
            for name in STRATEGIES:
                status.update(f"round {number} of {n_rounds}: bare loop, {name}")
                laps[name].append(loops[name].run(recommender))
                status.update(f"round {number} of {n_rounds}: recommend, {name}")
                flows[name].append(time_recommend(world, recommender, settings_for(name), recovery=False))
            status.update(f"round {number} of {n_rounds}: recommend, recovery on")
            flows[RECOVERY].append(time_recommend(world, recommender, settings_for(FOUR_SOURCES), recovery=True))
            status.update(f"round {number} of {n_rounds}: learn")
            flows["learn"].append(time_learn(world, settings_for("blend")))
        parts, alone = {}, {}
        for name in STRATEGIES:
            status.update(f"slates in parts, and alone: {name}")
            queries = loops[name].queries()
            parts[name] = time_recommending(recommender, queries)
            alone[name] = time_alone(recommender, queries)

    n_slates = laps["blend"][0].n_slates
    recommends = {name: watches for name, watches in flows.items() if name != "learn"}
    for name, watches in recommends.items():
        if any(watch.n_written != n_slates for watch in watches):
            raise AssertionError(f"{name}: {[w.n_written for w in watches]} slates, the bare loop made {n_slates}")
    seconds = {name: min(w.last_written - w.started for w in watches) for name, watches in recommends.items()}
    seconds |= {f"{name}, bare": min(lap.seconds for lap in laps[name]) for name in STRATEGIES}
    learn_s = min(watch.all_read - watch.started for watch in flows["learn"])
    return {
        "machine": machine(),
        "events": n_events,
        "slates": n_slates,
        "rounds": n_rounds,
        "recommend": {
            name: {"events_per_s": round(n_events / s), "slates_per_s": round(n_slates / s)}
            for name, s in seconds.items()
        },
        "flow_to_bare": {name: round(seconds[f"{name}, bare"] / seconds[name], 3) for name in STRATEGIES},
        "recovery_on_to_off": round(seconds[FOUR_SOURCES] / seconds[RECOVERY], 3),
        "learn_events_per_s": round(n_events / learn_s),
        "us_per_stage": {
            name: stages(laps[name], seconds[name], seconds[f"{name}, bare"], n_events, n_slates) for name in STRATEGIES
        },
        "us_per_slate_of_recommend": {
            name: {part: round(us, 2) for part, us in timed.items()} for name, timed in parts.items()
        },
        "us_per_slate_alone": {
            name: {percentile: round(us) for percentile, us in timed.items()} for name, timed in alone.items()
        },
        "snapshot_bytes_per_user": round(bare.bytes_per_user()),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024),
    }


def stages(laps: list[Lap], flow_s: float, bare_s: float, n_events: int, n_slates: int) -> dict[str, float]:
    """Return each stage's microseconds in its fastest round, a slate's or (decode, profile, engine) an event's."""
    shared = {"decode": n_events, "profile": n_events, "query": n_slates, "recommend": n_slates, "encode": n_slates}
    timed = {name: round(1e6 * min(lap.stages[name] for lap in laps) / n, 2) for name, n in shared.items()}
    return timed | {"engine": round(1e6 * (flow_s - bare_s) / n_events, 2)}


def warm_up(world: World, recommender: Recommender) -> None:
    """Run everything once on a little."""
    little = World(world.table, world.past[:4_000], world.present[:4_000])
    for name in STRATEGIES:
        time_recommend(little, recommender, settings_for(name), recovery=name == "blend")
    time_learn(little, settings_for("blend"))


def untrained() -> Checkpoint:
    """Save and load a ranker with random weights: good for timing, and for nothing else."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranker.safetensors"
        save_checkpoint(MLP(MLPConfig(len(FEATURES))), path, "untrained")
        return load_checkpoint(path)


if __name__ == "__main__":
    main()
