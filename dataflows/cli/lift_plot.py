"""A plot for the terminal: how the bounds of a lift have moved from look to look."""

from collections.abc import Sequence

from models.messages import ResultPoint

WIDTH, HEIGHT = 72, 13
NOTHING_YET = "nothing is known of the lift yet"


def plot_lifts(history: Sequence[ResultPoint], treatment: str, title: str) -> str:
    """Draw the bounds of a treatment's lift: users to the right, the lift upwards, a line at 0.

    A band that has left the line decides. Looks before anything was known are left out. The newer half of the looks
    sets the scale; what lies beyond it is cut off.
    """
    known = [(point.users, *bounds) for point in history if (bounds := _known(point, treatment)) is not None]
    if not known:
        return f"{title}: {NOTHING_YET}"
    columns = [known[round(column * (len(known) - 1) / (WIDTH - 1))] for column in range(WIDTH)]
    newer = known[len(known) // 2 :]
    bottom, top = min(0.0, *(low for _, low, _ in newer)), max(0.0, *(high for _, _, high in newer))
    step = (top - bottom) / (HEIGHT - 1) or 1.0
    lines = [title]
    zero = round(-bottom / step)
    for row in reversed(range(HEIGHT)):
        marks = "".join(_mark(row, zero, (low - bottom) / step, (high - bottom) / step) for _, low, high in columns)
        label = "0" if row == zero else f"{bottom + row * step:+.1%}" if row in (0, HEIGHT - 1) else ""
        lines.append(f"{label:>8} │{marks}")
    first, last = f"{known[0][0]:,}", f"{known[-1][0]:,} users"
    lines.append(f"{'':>8} └{'─' * WIDTH}")
    lines.append(f"{'':>10}{first}{last:>{WIDTH - len(first)}}")
    return "\n".join(lines)


def _known(point: ResultPoint, treatment: str) -> tuple[float, float] | None:
    low, high = point.lifts.get(treatment, (None, None))
    return None if low is None or high is None else (low, high)


def _mark(row: int, zero: int, low: float, high: float) -> str:
    if round(low) <= row <= round(high):
        return "▒" if row == zero else "█" if row in (round(low), round(high)) else "░"
    return "─" if row == zero else " "
