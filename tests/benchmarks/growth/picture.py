"""Lines of what grows, as an SVG picture: both axes by powers, so that what is in proportion is a diagonal."""

from collections.abc import Mapping
from html import escape
from math import log10

from dataflows.cli.backtest_figures import COLOURS

WIDTH, HEIGHT, MARGIN, LEGEND = 900, 340, 55, 330


def plot_growth(title: str, lines: Mapping[str, list[tuple[float, float]]]) -> str:
    """Draw each line's (size, times as much) points.

    Returns
    -------
    The text of an SVG file.
    """
    points = [point for line in lines.values() for point in line]
    least, most = min(n for n, _ in points), max(n for n, _ in points)
    low, high = min(times for _, times in points), max(2.0, *(times for _, times in points))
    across, up = WIDTH - 2 * MARGIN - LEGEND, HEIGHT - 2 * MARGIN

    def x(n: float) -> float:
        return MARGIN + across * log10(n / least) / (log10(most / least) or 1.0)

    def y(times: float) -> float:
        return HEIGHT - MARGIN - up * log10(times / low) / log10(high / low)

    box = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="{MARGIN / 2}" font-size="15">{escape(title)}</text>',
    ]
    for times in (1, 10, 100, 1_000):
        if low <= times <= high:
            parts += [
                f'<line x1="{MARGIN}" x2="{MARGIN + across}" y1="{y(times):.1f}" y2="{y(times):.1f}" stroke="#ddd"/>',
                f'<text x="{MARGIN - 6}" y="{y(times) + 4:.1f}" text-anchor="end">{times} x</text>',
            ]
    parts += [
        f'<text x="{x(n):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{n:,.0f}</text>'
        for n in sorted({n for n, _ in points})
    ]
    for number, (name, line) in enumerate(lines.items()):
        colour, top = COLOURS[number], MARGIN + 20 * number
        path = " ".join(f"{x(n):.1f},{y(times):.1f}" for n, times in line)
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<rect x="{WIDTH - LEGEND}" y="{top}" width="12" height="12" fill="{colour}"/>',
            f'<text x="{WIDTH - LEGEND + 18}" y="{top + 11}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])
