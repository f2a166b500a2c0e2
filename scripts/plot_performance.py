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
import pathlib
import re
import shlex
import subprocess
import sys

from svg_chart import FOLDER, LIGHT, Failure, cpu_name, draw, rounded


# ---- measuring --------------------------------------------------------------------------------------------------------


def numbers(text):
    return [int(n) for n in text.split(",")]


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
    rows = ",\n    ".join(json.dumps(rounded(r)) for r in results)
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
        if path.name.startswith("engine-"):  # of engine_load.py
            continue
        model, program = path.stem.split("@", 1)
        series = models.setdefault(model, {}).setdefault(program, Series("Tern" if program == "tern" else program))
        try:
            series.read(path)
        except (ValueError, KeyError, TypeError, Failure) as error:
            raise Failure(f"{path} is no file of measurements: {error!r}") from error
    return {m: sorted(s.values(), key=lambda x: (x.label != "Tern", x.label)) for m, s in models.items()}


# ---- drawing ----------------------------------------------------------------------------------------------------------


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
