"""Lines over time as an SVG picture, which any browser shows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

WIDTH, HEIGHT, MARGIN, LEGEND = 900, 420, 50, 170
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#997700", "#bbbbbb", "#000000")
"""Tol's palette, which the colour-blind can tell apart."""


def line_plot(title: str, at: Sequence[float], lines: Mapping[str, Sequence[float]]) -> str:
    """Draw each line over the times `at` (Unix ms, rising), from 0 to the largest value.

    Returns
    -------
    The text of an SVG file; the last line is drawn boldest, above the others.
    """
    highest = max((max(values, default=0.0) for values in lines.values()), default=0.0) or 1.0
    first, last = (at[0], at[-1]) if at else (0.0, 1.0)
    across, up = WIDTH - 2 * MARGIN - LEGEND, HEIGHT - 2 * MARGIN

    def x(moment: float) -> float:
        return MARGIN + across * (moment - first) / max(last - first, 1.0)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - up * value / highest

    box = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="{MARGIN / 2}" font-size="15">{escape(title)}</text>',
    ]
    for step in range(5):
        value = highest * step / 4
        parts += [
            f'<line x1="{MARGIN}" x2="{MARGIN + across}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>',
            f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>',
        ]
    for moment, anchor in ((first, "start"), (last, "end")):
        day = datetime.fromtimestamp(moment / 1_000, UTC).date().isoformat()
        parts.append(f'<text x="{x(moment):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="{anchor}">{day}</text>')
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(moment):.1f},{y(value):.1f}" for moment, value in zip(at, values, strict=True))
        bold = 3 if number == len(lines) - 1 else 1.5
        top = MARGIN + 20 * number
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{bold}"/>',
            f'<rect x="{WIDTH - LEGEND}" y="{top}" width="12" height="12" fill="{colour}"/>',
            f'<text x="{WIDTH - LEGEND + 18}" y="{top + 11}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])
