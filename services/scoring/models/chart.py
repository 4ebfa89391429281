"""Calibration by number of purchases as a line chart in SVG. Pure."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 180, 40, 50
COLOURS = ("#1f1f1f", "#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#737373")
TICKS = 5


def line_chart(
    title: str, across: str, up: str, labels: Sequence[str], lines: Mapping[str, Sequence[float]]
) -> str:
    """An SVG document with one line per name over the labels; all values are 0 or more."""
    highest = max((max(values) for values in lines.values()), default=1.0) or 1.0
    step = (WIDTH - LEFT - RIGHT) / max(len(labels) - 1, 1)

    def place(number: int, value: float) -> tuple[float, float]:
        return LEFT + number * step, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, across, anchor="middle"),
        _text(16, TOP - 8, up),
    ]
    for tick in range(TICKS + 1):
        _, y = place(0, highest * tick / TICKS)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{highest * tick / TICKS:.2g}", anchor="end"))
    for number, label in enumerate(labels):
        parts.append(_text(place(number, 0)[0], HEIGHT - BOTTOM + 18, label, anchor="middle"))
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(i, v) for i, v in enumerate(values)))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 18 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 16} {y}h22" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - RIGHT + 44, y + 4, name))
    return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
