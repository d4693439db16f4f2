from tests.benchmarks.backlog import Lap, Steady
from tests.benchmarks.e2e_page import Found, page_of


def a_lap(slates_per_s: float, compute_per_s: float | None = None) -> Lap:
    return Lap(slates_per_s, slates_per_s, 500.0, 100.0, 600.0, 372.0, {"main": 400.0}, compute_per_s)


def a_steady(p50_ms: float) -> Steady:
    return Steady(500.0, dict.fromkeys(("p50", "p95", "p99", "max"), p50_ms), 750.0, 200.0)


def page(laps: dict[str, list[Lap]], p50_ms: float = 9.0) -> str:
    flow, echo = {"transactional": [a_steady(p50_ms)]}, {"transactional": [a_steady(3.0)]}
    return page_of(
        Found("kafka", "Apache Kafka", "2 cores", "make", 10, 2, 1.0, {"loop_ms": 1.0}, laps, flow, echo, 2_000, None)
    )


def row_of(text: str, begins: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {begins}"))


def test_a_way_is_compared_with_what_was_computed_in_the_same_turn() -> None:
    text = page({"transactional": [a_lap(80.0), a_lap(10.0)], "plain loop": [a_lap(90.0, 100.0), a_lap(11.0, 12.5)]})

    assert "| 0.80 (0.80 to 0.80) |" in text


def test_a_way_that_was_left_out_leaves_its_column_empty() -> None:
    text = page({"transactional": [a_lap(80.0)]})

    assert "|  |  |  | 1.00 (1.00 to 1.00) |" in row_of(text[text.index("ratio of slates/s") :], "transactional")


def test_latencies_and_cpu_are_told_as_ratios_to_the_echo_and_to_a_full_batch() -> None:
    row = row_of(page({"transactional": [a_lap(80.0)]}), "transactional, 500/s")

    assert row.endswith("| 3.0 | 3.0 | 750 | 1.50 |")
