#!/usr/bin/env python3
"""The same load on Tern's engine and on another program's server, and pictures. Python's standard library is enough.

  scripts/engine_load.py measure -m model.gguf -t 2 --rates 0.1,0.2,0.4,0 --loads /tmp/loads
  scripts/engine_load.py measure-peer --server http://127.0.0.1:8080 --load /tmp/loads/*.jsonl --program llama.cpp \\
      -t 2 --out docs/performance/engine-MODEL@llama.cpp.json
  scripts/engine_load.py plot

`measure` runs bench_engine for each rate (0: all requests at once) and share of common prefix, writes
docs/performance/engine-MODEL@tern.json, and with --loads the loads themselves, one file each. `measure-peer` replays
such files to llama.cpp's server (POST /completion), a thread per request, and writes the same figures in the same form;
the pool and parks are Tern's own. `plot` reads every docs/performance/engine-MODEL@PROGRAM.json and draws figures by
rate.

Times are counted as bench_engine does: from the moment at which a request was to arrive, percentiles by nearest rank, an
event of several tokens as as many equal gaps. The peer's include HTTP on the same machine, Tern's do not.
"""

import argparse
import datetime
import http.client
import json
import math
import pathlib
import shlex
import subprocess
import sys
import threading
import time
import urllib.parse

from svg_chart import FOLDER, LIGHT, Failure, cpu_name, draw, rounded

# ---- what both measurements share -------------------------------------------------------------------------------------


def numbers(text):
    return [float(n) for n in text.split(",")]


def write(path, head, results):
    head_text = "".join(f"  {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
    rows = ",\n    ".join(json.dumps(rounded(r)) for r in results)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{\n{head_text}  "results": [\n    {rows}\n  ]\n}}\n')
    print(path)


def head_of(args):
    return {"machine": args.machine or cpu_name(), "threads": args.threads, "parallel": args.parallel,
            "date": datetime.date.today().isoformat()}


# ---- Tern -------------------------------------------------------------------------------------------------------------


def bench(command):
    print(shlex.join(command), file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure(f"the command ended with status {done.returncode}")
    return done.stdout


def measure(args):
    model = ["-m", args.model] if args.model else ["--shape", args.shape, "--format", args.format]
    name = pathlib.Path(args.model).stem if args.model else f"{args.shape}-{args.format}"
    base = shlex.split(args.bench) + model + ["-t", str(args.threads), "--parallel", str(args.parallel)]
    base += ["--requests", str(args.requests), "--prompt", args.prompt, "--generate", args.generate]
    if args.kv_memory:
        base += ["--kv-memory", args.kv_memory]
    results = []
    seed = args.seed
    for share in args.prefix_shares:
        for rate in args.rates:
            # A server lives through all loads; prompts that it has seen would be in its cache.
            call = base + ["--prefix-share", f"{share:g}", "--rate", f"{rate:g}", "--seed", str(seed)]
            seed += 1
            if args.loads:
                args.loads.mkdir(parents=True, exist_ok=True)
                bench(call + ["--write-load", str(args.loads / f"prefix{share:g}-rate{rate:g}.jsonl")])
            results.append(json.loads(bench(call + ["--json"])))
    write(FOLDER / f"engine-{name}@tern.json", head_of(args), results)


# ---- a server ---------------------------------------------------------------------------------------------------------


def percentiles(values):
    """By nearest rank, as bench_engine."""
    order = sorted(values)

    def at(share):
        return order[max(math.ceil(share * len(order)), 1) - 1] if order else 0

    return {"p50": at(0.5), "p99": at(0.99)}


class Call(threading.Thread):
    """A request of the load, at its time."""

    def __init__(self, server, start, request):
        super().__init__(daemon=True)
        self.server, self.request = server, request
        self.arrival = start + request["at_s"]
        self.pieces = []  # (time, tokens so far)
        self.cached = None
        self.error = None

    def run(self):
        try:
            time.sleep(max(0, self.arrival - time.monotonic()))
            self.stream()
        except (OSError, ValueError, KeyError, http.client.HTTPException, Failure) as error:
            self.error = error

    def stream(self):
        body = json.dumps({"prompt": self.request["prompt_tokens"], "n_predict": self.request["generate"],
                           "ignore_eos": True, "stream": True, "cache_prompt": True, "temperature": 0,
                           # Byte and control tokens of random weights make no text that every server can send.
                           "logit_bias": [[i, False] for i in range(259)]})
        connection = http.client.HTTPConnection(self.server, timeout=3600)
        try:
            connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise Failure(f"the server answered {response.status}: {response.read(500).decode(errors='replace')}")
            for line in iter(response.readline, b""):
                now = time.monotonic()
                kind, _, data = line.partition(b": ")
                if kind == b"error":
                    raise Failure(f"the server's error: {data.decode(errors='replace').strip()}")
                if kind != b"data":
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise Failure(f"the server's error: {event['error']}")
                if "tokens_predicted" not in event:  # of a piece that is no whole character yet, for one
                    continue
                count = event["tokens_predicted"]
                if count > (self.pieces[-1][1] if self.pieces else 0):
                    self.pieces.append((now, count))
                if event.get("stop"):
                    self.cached = event.get("timings", {}).get("cache_n")
                    break
        finally:
            connection.close()
        got = self.pieces[-1][1] if self.pieces else 0
        if got != self.request["generate"]:
            raise Failure(f"{got} tokens came of the {self.request['generate']} asked for after a prompt of "
                          f"{len(self.request['prompt_tokens'])}; the server's context (-c, which its slots share) may be too "
                          "short, or the server may have ended (its log says why)")

    def gaps(self):
        """Milliseconds per token after the first piece."""
        out = []
        for (before, n), (after, m) in zip(self.pieces, self.pieces[1:]):
            out += [1000 * (after - before) / (m - n)] * (m - n)
        return out


def read_load(path):
    try:
        load = [json.loads(line) for line in path.read_text().splitlines()]
        for request in load:
            request["at_s"] + request["generate"] + len(request["prompt_tokens"])
        return load, load[0]["load"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Failure(f"{path} is no load of bench_engine --write-load: {error!r}") from error


def replay(server, load):
    # The peer warms up by itself at its start; this only sees that it answers.
    warm = Call(server, time.monotonic(), {"at_s": 0, "prompt_tokens": load[0]["prompt_tokens"][-1:], "generate": 2})
    warm.run()
    if warm.error:
        raise Failure(f"no answer to use from {server}: {warm.error}")
    start = time.monotonic() + 0.5  # all threads are there by then
    calls = [Call(server, start, request) for request in load]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    for i, call in enumerate(calls):
        if call.error:
            raise Failure(f"request {i}: {call.error}")
    seconds = max(call.pieces[-1][0] for call in calls) - start
    prompt = sum(len(call.request["prompt_tokens"]) for call in calls)
    generated = sum(call.pieces[-1][1] for call in calls)
    cached = [call.cached for call in calls]
    return {"seconds": seconds, "prompt_tokens": prompt, "cached_tokens": None if None in cached else sum(cached),
            "generated_tokens": generated, "prompt_tokens_per_second": prompt / seconds,
            "generated_tokens_per_second": generated / seconds,
            "first_token_ms": percentiles([1000 * (call.pieces[0][0] - call.arrival) for call in calls]),
            "token_ms": percentiles([gap for call in calls for gap in call.gaps()]),
            "pool": None, "parks": None}


def measure_peer(args):
    url = urllib.parse.urlsplit(args.server if "//" in args.server else f"//{args.server}")
    if not url.hostname or url.scheme not in ("", "http"):
        raise Failure(f"{args.server} is no address of a server; write http://127.0.0.1:8080")
    results = []
    for path in args.load:
        load, options = read_load(path)
        print(f"{path}: {len(load)} requests, {options['rate']:g} per second", file=sys.stderr)
        results.append({"program": args.program, "mode": "load", **options, **replay(url.netloc, load)})
    write(args.out, head_of(args), results)


# ---- drawing ----------------------------------------------------------------------------------------------------------


def read_all():
    """{(model, prefix share): [(program, {rate: result})]}, Tern first; and a note per model."""
    figures, notes = {}, {}
    for path in sorted(FOLDER.glob("engine-*@*.json")):
        model, program = path.name.removesuffix(".json").removeprefix("engine-").split("@", 1)
        try:
            document = json.loads(path.read_text())
            if program == "tern" or model not in notes:
                notes[model] = (f"{document['machine']}, {document['threads']} threads, at most {document['parallel']} "
                                f"at once, {document['date']}")
            for result in document["results"]:
                label = "Tern" if program == "tern" else program
                figures.setdefault((model, result["prefix_share"]), {}).setdefault(label, {})[result["rate"]] = result
        except (ValueError, KeyError, TypeError) as error:
            raise Failure(f"{path} is no file of measurements: {error!r}") from error
    return {k: sorted(v.items(), key=lambda x: (x[0] != "Tern", x[0])) for k, v in figures.items()}, notes


def charts(programs):
    """(file's name, title, label of y, [(label, {rate: y})], {rate: y of all at once}) of what has two rates at least."""

    def line(results, value):
        return {rate: value(r) for rate, r in results.items() if rate > 0}

    speed = [(p, line(results, lambda r: r["generated_tokens_per_second"])) for p, results in programs]
    rates = {rate for _, y in speed for rate in y}
    if len(rates) < 2:
        return
    label, results = programs[0]
    together = results[0]["generated_tokens_per_second"] if label == "Tern" and 0 in results else None
    yield "throughput", "Tokens generated under load", "tokens per second", speed, {r: together for r in rates if together}
    for key, name, title, y in (("token_ms", "token-time", "Time per token under load", "ms per token after the first"),
                                ("first_token_ms", "first-token", "Time to the first token under load", "ms")):
        lines = [(f"{p} {q}", line(results, lambda r, q=q: r[key][q])) for p, results in programs for q in ("p50", "p99")]
        yield name, title, y, lines, {}


def plot(_):
    figures, notes = read_all()
    if not figures:
        raise Failure(f"{FOLDER} has no measurements of the engine; make them with: {sys.argv[0]} measure -m FILE -t N")
    for (model, share), programs in figures.items():
        of_prompts = f", {100 * share:g} % of prompts in common" if share else ""
        for name, title, y_label, lines, ceiling in charts(programs):
            lines = [(label, line) for label, line in lines if line]
            if len(lines) > len(LIGHT):
                raise Failure(f"{model} has {len(lines)} lines in {name}; {len(LIGHT)} can be drawn")
            path = FOLDER / f"engine-{model}{f'-prefix{100 * share:g}' if share else ''}-{name}.svg"
            path.write_text(draw(f"{title}: {model}{of_prompts}", "requests per second", lines, ceiling, False,
                                 notes[model], y_label, "all requests at once (Tern)"))
            print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def common(p):
        p.add_argument("-t", dest="threads", type=int, required=True)
        p.add_argument("--parallel", type=int, default=16, help="sequences that compute at once")
        p.add_argument("--machine", help="its name in the pictures (what the system says of the CPU)")

    m = commands.add_parser("measure", help="run bench_engine")
    common(m)
    m.add_argument("--bench", default="build/bin/bench_engine", help="the command, with a prefix such as nice where wanted")
    m.add_argument("-m", dest="model", help="a GGUF file instead of random weights")
    m.add_argument("--shape", default="llama-3.2-1b")
    m.add_argument("--format", default="Q4_K_M")
    m.add_argument("--rates", type=numbers, default=[0.1, 0.2, 0.3, 0.4, 0], help="requests per second; 0: all at once")
    m.add_argument("--prefix-shares", type=numbers, default=[0], help="of each prompt that is common to all")
    m.add_argument("--requests", type=int, default=64)
    m.add_argument("--prompt", default="128:1024", help="tokens, MIN:MAX")
    m.add_argument("--generate", default="32:256", help="tokens, MIN:MAX")
    m.add_argument("--kv-memory", help="as bench_engine")
    m.add_argument("--seed", type=int, default=1, help="of the first load; the others count on")
    m.add_argument("--loads", type=pathlib.Path, help="a folder that gets the loads, for measure-peer")
    m.set_defaults(run=measure)

    p = commands.add_parser("measure-peer", help="replay loads to a server")
    common(p)
    p.add_argument("--server", required=True, help="http://HOST:PORT")
    p.add_argument("--load", type=pathlib.Path, nargs="+", required=True, help="files of bench_engine --write-load")
    p.add_argument("--program", required=True, help="the server's name in the file")
    p.add_argument("--out", type=pathlib.Path, required=True, help="docs/performance/engine-MODEL@PROGRAM.json to be drawn")
    p.set_defaults(run=measure_peer)

    p = commands.add_parser("plot", help="draw what was measured")
    p.set_defaults(run=plot)
    args = parser.parse_args()
    try:
        args.run(args)
    except (Failure, OSError) as error:
        sys.exit(f"{sys.argv[0]}: {error}")


main()
