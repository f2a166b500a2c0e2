"""Line charts as SVG, and what the scripts that draw measurements share. Python's standard library is enough."""

import math
import pathlib
from html import escape

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "performance"


class Failure(Exception):
    """What went wrong, for the user."""


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def rounded(value):
    """Five digits are more than a repetition would confirm."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return value


# ---- drawing ----------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 156, 76, 76

# Colours that differ for every kind of colour vision (Okabe and Ito, 2008), lighter where the page is dark. Markers differ too.
LIGHT = ["#0072b2", "#d55e00", "#007a5a", "#a8578a"]
DARK = ["#56b4e9", "#f0904a", "#2fc99a", "#dd94bf"]

STYLE = """
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; font-size: 13px; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #57606a; font-size: 12px }
  .page { fill: #ffffff }
  .grid { stroke: #d8dee4; stroke-width: 1 }
  .axis { stroke: #57606a; stroke-width: 1 }
  .ceiling { fill: none; stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 5 4 }
  .line { fill: none; stroke-width: 2.25; stroke-linejoin: round }
"""
STYLE_DARK = """
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .page { fill: #0d1117 }
    .grid { stroke: #30363d }
    .axis { stroke: #9198a1 }
    .ceiling { stroke: #6e7681 }
"""


def style(count):
    def colours(list_, indent):
        return "".join(f"{indent}.s{i} {{ stroke: {c} }} .m{i} {{ fill: {c} }}\n" for i, c in enumerate(list_[:count]))

    return (f"<style>{STYLE}{colours(LIGHT, '  ')}  @media (prefers-color-scheme: dark) {{{STYLE_DARK}"
            f"{colours(DARK, '    ')}  }}\n</style>")


def marker(index, x, y):
    if index == 0:
        return f'<circle class="m0" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    points = {1: [(-4, -4), (4, -4), (4, 4), (-4, 4)], 2: [(0, -5.5), (5, 4), (-5, 4)], 3: [(0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)]}
    return f'<polygon class="m{index}" points="{" ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in points[index])}"/>'


def ticks(top):
    """Round numbers from 0 to at least `top`, four to eight of them."""
    step = 10 ** math.floor(math.log10(top / 4))
    step = next(step * f for f in (1, 2, 2.5, 5, 10) if top / (step * f) <= 6)
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


def speed(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def spread(positions, gap):
    """The positions, moved apart so that each is `gap` below the one above."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    out = list(positions)
    for before, i in zip(order, order[1:]):
        out[i] = max(out[i], out[before] + gap)
    return out


def draw(title, x_label, series, ceiling, logarithmic, note, y_label="tokens per second",
         ceiling_label="as fast as memory can be read (Tern's run)"):
    """An SVG of lines; `series` is [(label, {x: y})], `ceiling` {x: y}."""
    xs = sorted({x for _, line in series for x in line})
    highest = max(y for _, line in series for y in line.values())
    # A ceiling far above everything would press the lines together.
    if not ceiling or max(ceiling.values()) > 2 * highest:
        ceiling = {}
    y_ticks = ticks(1.06 * max([highest, *ceiling.values()]))
    place = math.log2 if logarithmic else float
    low, high = place(xs[0]), place(xs[-1])

    def px(x):
        return LEFT + (place(x) - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def py(y):
        return HEIGHT - BOTTOM - y / y_ticks[-1] * (HEIGHT - TOP - BOTTOM)

    def text(x, y, words, anchor="start", kind=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind and f" class={kind!r}"}>{escape(words)}</text>'

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
           f"<title>{escape(title)}</title>", style(len(series)), f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
           text(16, 26, title, kind="title")]
    legend = 16.0
    for i, (label, _) in enumerate(series):
        out += [f'<path class="line s{i}" d="M{legend:.1f} 46h26"/>', marker(i, legend + 13, 46), text(legend + 33, 50.5, label)]
        legend += 33 + 7.6 * len(label) + 24
    if ceiling:
        out += [f'<path class="ceiling" d="M{legend:.1f} 46h26"/>', text(legend + 33, 50.5, ceiling_label)]
    for y in y_ticks:
        out += [f'<path class="grid" d="M{LEFT} {py(y):.1f}H{WIDTH - RIGHT}"/>', text(LEFT - 8, py(y) + 4.5, f"{y:,g}", "end")]
    out.append(f'<path class="axis" d="M{LEFT} {py(0):.1f}H{WIDTH - RIGHT}"/>')
    last = -math.inf
    for x in xs:
        out.append(f'<path class="axis" d="M{px(x):.1f} {py(0):.1f}v5"/>')
        if px(x) - last >= 34:  # room for the number
            out.append(text(px(x), py(0) + 20, f"{x:,g}", "middle"))
            last = px(x)
    out.append(text((LEFT + WIDTH - RIGHT) / 2, py(0) + 40, x_label, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    if ceiling:
        out.append(f'<path class="ceiling" d="M{"L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in sorted(ceiling.items()))}"/>')
    ends = []
    for i, (_, line) in enumerate(series):
        points = sorted(line.items())
        out.append(f'<path class="line s{i}" d="M{"L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in points)}"/>')
        out += [marker(i, px(x), py(y)) for x, y in points]
        if i == 0:  # the numbers of the first; the ends of the others say theirs
            out += [text(px(x), py(y) - 10, speed(y), "middle", "quiet") for x, y in points[:-1]]
        ends.append(points[-1])
    heights = spread([py(y) for _, y in ends], 16)
    for (x, y), height, (label, _) in zip(ends, heights, series):
        out.append(text(px(x) + 11, height + 4.5, f"{speed(y)} {label}"))
    if note:
        out.append(text(16, HEIGHT - 12, note, kind="quiet"))
    out.append("</svg>")
    return "\n".join(out) + "\n"
