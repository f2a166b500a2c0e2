#!/usr/bin/env python3
"""Measures tokens per second and draws them against depth and batch size. Python's standard library is enough.

  scripts/plot_performance.py measure --shape llama-3.2-1b --format Q4_K_M -t 2
  scripts/plot_performance.py plot

`measure` runs `tern bench` and writes docs/performance/MODEL@tern.json. `plot` reads every docs/performance/MODEL@PROGRAM.json
and .jsonl and writes docs/performance/MODEL-{decode-depth,prefill-depth,decode-batch}.svg. A file of a peer is what its own
benchmark prints: `llama-bench -o json` as MODEL@PROGRAM.json (tests with n_prompt or n_gen, n_depth), and
`llama-batched-bench --output-format jsonl` as MODEL@PROGRAM.jsonl (pl, speed_tg).
"""

import argparse
import datetime
import json
import math
import pathlib
import re
import shlex
import subprocess
import sys
from html import escape

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "performance"


class Failure(Exception):
    """What went wrong, for the user."""


# ---- measuring --------------------------------------------------------------------------------------------------------


def numbers(text):
    return [int(n) for n in text.split(",")]


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def measure(args):
    model = ["-m", args.model] if args.model else ["--shape", args.shape, "--format", args.format]
    name = pathlib.Path(args.model).stem if args.model else f"{args.shape}-{args.format}"
    base = shlex.split(args.tern) + ["bench", *model, "-t", str(args.threads), "-r", str(args.repeats), "--json"]
    calls = [["-p", str(args.prompt), "-n", str(args.generate), "-d", str(d)] for d in args.depths]
    calls += [["-p", "0", "-n", str(args.generate), "-b", str(b)] for b in args.batches if b > 1]
    results = []
    for call in calls:
        print(" ".join(base + call), file=sys.stderr)
        done = subprocess.run(base + call, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failure(f"the command ended with status {done.returncode}")
        results += json.loads(done.stdout)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}@tern.json"
    head = {"machine": args.machine or cpu_name(), "threads": args.threads, "date": datetime.date.today().isoformat()}
    # Five digits are more than a repetition would confirm.
    rounded = [{k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in r.items()} for r in results]
    rows = ",\n    ".join(json.dumps(r) for r in rounded)
    head_text = "".join(f"  {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
    path.write_text(f'{{\n{head_text}  "results": [\n    {rows}\n  ]\n}}\n')
    print(path)


# ---- reading ----------------------------------------------------------------------------------------------------------


class Series:
    """A program's figures: tokens per second by depth or by sequences at once."""

    def __init__(self, label):
        self.label = label
        self.decode_depth, self.prefill_depth, self.decode_batch = {}, {}, {}
        self.ceiling = {}  # of decode, by depth
        self.note = ""

    def add_tern(self, row):
        match = re.fullmatch(r"(pp|tg)\d+(?: d(\d+))?(?: b(\d+))?", row["test"])
        if not match:
            raise Failure(f"no test is called {row['test']!r}")
        depth, batch, speed = int(match[2] or 0), int(match[3] or 1), row["tokens_per_second"]
        if match[1] == "pp":
            if batch == 1:
                self.prefill_depth[depth] = speed
            return
        if batch == 1:
            self.decode_depth[depth] = speed
            if row["gb_per_second"] > 0:
                self.ceiling[depth] = speed * row["ceiling_gb_per_second"] / row["gb_per_second"]
        if depth == 0:
            self.decode_batch[batch] = speed

    def add_peer(self, row):
        depth, prompt, generated = row.get("n_depth", 0), row["n_prompt"], row["n_gen"]
        if prompt and not generated:
            self.prefill_depth[depth] = row["avg_ts"]
        elif generated and not prompt:
            self.decode_depth[depth] = row["avg_ts"]
            if depth == 0:
                self.decode_batch.setdefault(1, row["avg_ts"])

    def read(self, path):
        text = path.read_text()
        if path.suffix == ".jsonl":
            for line in text.splitlines():
                if line.startswith("{"):  # its log may stand between
                    row = json.loads(line)
                    self.decode_batch[row["pl"]] = row["speed_tg"]
            return
        document = json.loads(text)
        if isinstance(document, dict):
            self.note = f"{document['machine']}, {document['threads']} threads, {document['date']}"
            document = document["results"]
        for row in document:
            if "test" in row:
                self.add_tern(row)
            else:
                self.add_peer(row)


def read_all():
    """{model: [series]}, Tern first."""
    models = {}
    for path in sorted(FOLDER.glob("*@*.json*")):
        model, program = path.stem.split("@", 1)
        series = models.setdefault(model, {}).setdefault(program, Series("Tern" if program == "tern" else program))
        try:
            series.read(path)
        except (ValueError, KeyError, TypeError, Failure) as error:
            raise Failure(f"{path} is no file of measurements: {error!r}") from error
    return {m: sorted(s.values(), key=lambda x: (x.label != "Tern", x.label)) for m, s in models.items()}


# ---- drawing ----------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 140, 76, 76

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


def draw(title, x_label, series, ceiling, logarithmic, note):
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
        out += [f'<path class="ceiling" d="M{legend:.1f} 46h26"/>', text(legend + 33, 50.5, "as fast as memory can be read (Tern's run)")]
    for y in y_ticks:
        out += [f'<path class="grid" d="M{LEFT} {py(y):.1f}H{WIDTH - RIGHT}"/>', text(LEFT - 8, py(y) + 4.5, f"{y:,g}", "end")]
    out.append(f'<path class="axis" d="M{LEFT} {py(0):.1f}H{WIDTH - RIGHT}"/>')
    last = -math.inf
    for x in xs:
        out.append(f'<path class="axis" d="M{px(x):.1f} {py(0):.1f}v5"/>')
        if px(x) - last >= 34:  # room for the number
            out.append(text(px(x), py(0) + 20, f"{x:,}", "middle"))
            last = px(x)
    out.append(text((LEFT + WIDTH - RIGHT) / 2, py(0) + 40, x_label, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle">tokens per second</text>')
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


def plot(_):
    models = read_all()
    if not models:
        raise Failure(f"{FOLDER} has no measurements; make them with: {sys.argv[0]} measure --shape llama-3.2-1b")
    for model, programs in models.items():
        if len(programs) > len(LIGHT):
            raise Failure(f"{model} has {len(programs)} programs; {len(LIGHT)} can be drawn")
        note = next((p.note for p in programs if p.note), "")
        ceiling = programs[0].ceiling
        for name, title, x_label, logarithmic in (
                ("decode-depth", "Generating text", "tokens already in the context", False),
                ("prefill-depth", "Reading a prompt", "tokens already in the context", False),
                ("decode-batch", "Generating text in several sequences at once, total", "sequences", True)):
            lines = [(p.label, getattr(p, name.replace("-", "_"))) for p in programs]
            lines = [(label, line) for label, line in lines if line]
            if not lines or len({x for _, line in lines for x in line}) < 2:
                continue
            path = FOLDER / f"{model}-{name}.svg"
            path.write_text(draw(f"{title}: {model}", x_label, lines, ceiling if name == "decode-depth" else {}, logarithmic, note))
            print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    m = commands.add_parser("measure", help="run tern bench")
    m.add_argument("--tern", default="build/bin/tern", help="the command, with a prefix such as nice where wanted")
    m.add_argument("-m", dest="model", help="a GGUF file instead of random weights")
    m.add_argument("--shape", default="llama-3.2-1b")
    m.add_argument("--format", default="Q4_K_M")
    m.add_argument("-t", dest="threads", type=int, required=True)
    m.add_argument("-p", dest="prompt", type=int, default=512)
    m.add_argument("-n", dest="generate", type=int, default=32)
    m.add_argument("-r", dest="repeats", type=int, default=2)
    m.add_argument("--depths", type=numbers, default=[0, 1024, 2048, 4096, 8192])
    m.add_argument("--batches", type=numbers, default=[1, 2, 4, 8, 16])
    m.add_argument("--machine", help="its name in the pictures (what the system says of the CPU)")
    m.set_defaults(run=measure)
    p = commands.add_parser("plot", help="draw what was measured")
    p.set_defaults(run=plot)
    args = parser.parse_args()
    try:
        args.run(args)
    except (Failure, OSError) as error:
        sys.exit(f"{sys.argv[0]}: {error}")


main()
