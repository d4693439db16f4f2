"""Writes what `make bench` found: its part of the page."""

from typing import Any

from tests.benchmarks.pages import write_part

_HEAD = """## In memory, and alone through a broker

`make bench` runs these; every figure is from one run on one machine ({machine}).

The flows run in memory with one worker: 100,000 items with 50 neighbours each, 10,000 users with 15 recent items
each, 50,000 sessions of other visitors, 100 candidates a slate, {events:,} events as JSON of which one in four makes a
slate, in batches of 1,000. Each figure is that of the fastest of {rounds} rounds, in which the measurements take turns:
what slows a round down is the rest of the machine. `bare` calls the same core functions in a plain loop; `recovery`
snapshots every second into a store of 8 partitions. `four sources` are sequential rules, co-visitation, content and
trending; the others ask all seven. The ranker `mlp` has random weights, which cost the same time as trained ones.
`recommend: ...` parts a batch of 128 queries, in one thread; `alone` answers one query at a time.

`through a broker` is the recommend flow as its own process, recovery on, {through_a_broker[events_per_s]:.0f} events a
second, each of which makes a slate, through the embedded broker; writer, reader and broker share the machine with it.

`door` is `eddy serve` as its own process over the embedded broker, with 10,000 users' slates of 10 items, called on 32
connections as fast as it answers; an event is acknowledged by the broker before it is answered.
"""


def write_table(figures: dict[str, Any]) -> None:
    """Replace the part of the page."""
    write_part("bench", table_of(figures))


def table_of(figures: dict[str, Any]) -> str:
    """Return the part's text."""
    lines = [_HEAD.format(**figures), "| recommend | events/s | slates/s |", "|---|---:|---:|"]
    lines += [
        f"| {name} | {speed['events_per_s']:,} | {speed['slates_per_s']:,} |"
        for name, speed in figures["recommend"].items()
    ]
    lines += ["", "| | |", "|---|---:|"]
    lines += [f"| flow to bare loop, {name} | {ratio:.2f} |" for name, ratio in figures["flow_to_bare"].items()]
    lines += [
        f"| recovery on to off | {figures['recovery_on_to_off']:.2f} |",
        f"| learn, events/s | {figures['learn_events_per_s']:,} |",
        f"| snapshot, bytes a user | {figures['snapshot_bytes_per_user']:,} |",
        *(
            f"| through a broker, event written to slate in hand, {quantile}, ms | {ms} |"
            for quantile, ms in figures["through_a_broker"]["latency_ms"].items()
        ),
        *(
            f"| door, {call}, {figure.replace('_', ' ')} | {value:,} |"
            for call, figures_of_call in figures["door"].items()
            for figure, value in figures_of_call.items()
        ),
        f"| peak memory, MiB | {figures['peak_memory_mib']:,} |",
        "",
        f"| stage, µs | {' | '.join(figures['us_per_stage'])} |",
        f"|---|{'---:|' * len(figures['us_per_stage'])}",
    ]
    lines += _rows(figures["us_per_stage"], {"decode": "event", "profile": "event", "engine": "event"})
    lines += _rows(figures["us_per_slate_of_recommend"], {}, "recommend: ")
    lines += _rows(figures["us_per_slate_alone"], {}, "alone: ")
    return "\n".join(lines) + "\n"


def _rows(columns: dict[str, dict[str, float]], per: dict[str, str], prefix: str = "") -> list[str]:
    stages = dict.fromkeys(name for timed in columns.values() for name in timed)
    return [
        f"| {prefix}{name.replace('_', ' ')}, a {per.get(name, 'slate')} | "
        + " | ".join(f"{timed[name]:.1f}" if name in timed else "" for timed in columns.values())
        + " |"
        for name in stages
    ]
