"""What tests read of a sliding window."""

from models.numeric.windows import SlidingWindow


def windows_of(counts: SlidingWindow) -> list[tuple[int, int]]:
    """List the windows that hold an event and can still change, oldest first: start, inclusive, and count."""
    before_last_pane = counts.length_ms - counts.slide_ms
    last_pane = (counts.newest_at - counts.lateness_ms) // counts.slide_ms
    ends = range(last_pane * counts.slide_ms, counts.newest_at + counts.length_ms, counts.slide_ms)
    counted = ((at - before_last_pane, counts.count(at)) for at in ends)
    return [(start_at, n) for start_at, n in counted if n]
