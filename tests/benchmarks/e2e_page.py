"""What `make bench-e2e` found, and its part of the page."""

from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from tests.benchmarks.backlog import Lap, Steady
from tests.benchmarks.quix_environment import PINNED
from tests.benchmarks.ways import PLAIN, QUIX, TRANSACTIONAL

TWO = "transactional, two processes"
PACKAGES = ("bytewax", "confluent-kafka")


@dataclass(frozen=True, slots=True)
class Found:
    """All figures of a run, through one broker."""

    kind: str
    broker: str
    machine: str
    command: str
    n_events: int
    n_turns: int
    seconds: float
    """For which each rate was held."""
    calibration: dict[str, float]
    laps: dict[str, list[Lap]]
    """By way."""
    flow: dict[str, list[Steady]]
    """By delivery, as the echo's."""
    echo: dict[str, list[Steady]]
    bytes_a_slate: int
    skipped: str | None
    """Why Quix Streams was left out."""


def page_of(found: Found) -> str:
    """Write the part of the page."""
    parts = [_head(found), _ways(found), _ratios(found), _profile(found)]
    if found.flow:
        parts.append(_latencies(found))
    return "\n\n".join(parts)


def _head(found: Found) -> str:
    versions = ", ".join([*(f"{package} {version(package)}" for package in PACKAGES), f"Quix: {' with '.join(PINNED)}"])
    yardstick = ", ".join(f"{name.removesuffix('_ms')} {ms} ms" for name, ms in found.calibration.items())
    skipped = f" Quix Streams was left out: {found.skipped}." if found.skipped else ""
    return f"""## End to end through {found.broker}

`{found.command}`, on {found.machine}, shared by broker, writer and reader; {versions}. A backlog of
{found.n_events:,} clicks, each of which makes a slate, in turns, of which there were {found.n_turns}: medians, and both
ends of the slates/s. The yardstick: {yardstick}. A slate is {found.bytes_a_slate:,} bytes of JSON.{skipped}"""


def _ways(found: Found) -> str:
    rows = [
        (
            name,
            f"{_median(laps, 'events_per_s'):,.0f}",
            f"{_median(laps, 'slates_per_s'):,.0f} ({_ends([lap.slates_per_s for lap in laps])})",
            *(f"{_median(laps, of):,.0f}" for of in ("flow_cpu_us", "broker_cpu_us")),
            "" if laps[0].bytes_on_the_wire is None else f"{_median(laps, 'bytes_on_the_wire'):,.0f}",
            f"{_median(laps, 'memory_mb'):,.0f}",
        )
        for name, laps in found.laps.items()
    ]
    if PLAIN in found.laps:
        rows.append(
            ("of that, computing alone", "", f"{_median(found.laps[PLAIN], 'compute_per_s'):,.0f}", "", "", "", "")
        )
    head = (
        "way",
        "events/s",
        "slates/s",
        "its CPU, µs a slate",
        "broker CPU, µs a slate",
        "bytes on the wire",
        "MB at most",
    )
    return table(head, rows)


def _ratios(found: Found) -> str:
    """Compare within a turn, so that a slow hour of the machine falls on both sides."""
    rows = []
    for name, laps in found.laps.items():
        if name == PLAIN or laps[0].events_per_s != laps[0].slates_per_s:
            continue
        cells = [name]
        for other, of in ((PLAIN, "compute_per_s"), (PLAIN, "slates_per_s"), (QUIX, "slates_per_s")):
            cells.append(
                _ratio([lap.slates_per_s for lap in laps], [getattr(lap, of) for lap in found.laps.get(other, [])])
            )
        own = [lap.flow_cpu_us for lap in found.laps.get(TRANSACTIONAL, [])]
        cells.append(_ratio([lap.flow_cpu_us for lap in laps], own))
        rows.append(tuple(cells))
    return table(
        (
            "ratio of slates/s, turn by turn",
            "to computing alone",
            "to the plain loop",
            "to Quix Streams",
            "CPU a slate to transactional",
        ),
        rows,
    )


def _profile(found: Found) -> str:
    """Say where the CPU goes: the flow's by kind of thread, the core's by stage of the plain loop."""
    rows = [
        (f"{name}: {thread}", f"{np.median([lap.threads_us.get(thread, 0.0) for lap in laps]):,.0f}")
        for name, laps in found.laps.items()
        for thread in dict.fromkeys(kind for lap in laps for kind in lap.threads_us)
    ]
    plain = found.laps.get(PLAIN, [])
    rows += [
        (f"computing: {stage}", f"{np.median([lap.stages_us[stage] for lap in plain]):,.0f}")
        for stage in (plain[0].stages_us if plain else ())
    ]
    return table(("threads of each way, and stages of the core (by the clock)", "µs a slate"), rows)


def _latencies(found: Found) -> str:
    rows = []
    for delivery, steady in found.flow.items():
        full = _median(found.laps[delivery], "flow_cpu_us")
        for flow, echo in zip(steady, found.echo[delivery], strict=True):
            rows.append(
                (
                    f"{delivery}, {flow.rate:,.0f}/s",
                    *(f"{flow.latency_ms[q]:,.1f} / {echo.latency_ms[q]:,.1f}" for q in flow.latency_ms),
                    *(f"{flow.latency_ms[q] / echo.latency_ms[q]:.1f}" for q in ("p50", "p99")),
                    f"{flow.flow_cpu_us:,.0f}",
                    f"{flow.flow_cpu_us / full:.2f}",
                )
            )
    head = (
        "event written to slate in hand, ms: flow / echo", "p50", "p95", "p99", "max", "p50 to echo's", "p99 to echo's",
        "flow CPU, µs a slate", "to a full batch's",
    )  # fmt: skip
    what = (
        f"The echo reads and writes each event with the same client, and does nothing else; {found.seconds:g} s a rate."
    )
    return f"{what}\n\n{table(head, rows)}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Write a table in Markdown, figures to the right."""
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _median(laps: list[Lap], name: str) -> float:
    return float(np.median([getattr(lap, name) for lap in laps]))


def _ends(values: list[float]) -> str:
    return f"{min(values):,.0f} to {max(values):,.0f}"


def _ratio(values: list[float], others: list[float]) -> str:
    ratios = [value / other for value, other in zip(values, others, strict=False)]
    return f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
