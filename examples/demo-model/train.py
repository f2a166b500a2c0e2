"""Trains the demo model on the CPU: train.py MERGES CHECKPOINT [--steps N] [--minutes M]. The learning rate falls with
the steps done or the time used, whichever is further on, so a slower machine ends in time with fewer steps."""
import argparse
from concurrent.futures import ThreadPoolExecutor
import math
import os
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads take whole micro-batches: no product is large enough to share
if " avx512f " in open("/proc/cpuinfo").read():  # OpenBLAS 0.3.21 takes processors newer than itself for a Prescott
    os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
import torch
from torch.nn import functional as F

import tokenizer
from generate import documents
from model import CONFIG, Model

USER_WEIGHT = 0.2  # what users write is learned too, but less: it is the same language


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised by a Newton-Schulz iteration (Keller Jordan, "Muon", 2024): for the
    matrices inside the layers."""

    def __init__(self, params, lr, pool, momentum=0.95, weight_decay=0.02):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.pool = pool

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            list(self.pool.map(lambda w: self.update(w, group), group["params"]))

    @torch.no_grad()
    def update(self, w, group):
        m = self.state[w].setdefault("m", torch.zeros_like(w))
        m.lerp_(w.grad, 1 - group["momentum"])
        x = w.grad.lerp(m, group["momentum"])
        tall = x.shape[0] > x.shape[1]
        x = x.t() if tall else x
        x = (x / (x.norm() + 1e-7)).contiguous()
        for _ in range(5):
            a = x @ x.t()
            x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
        x = x.t() if tall else x
        w.mul_(1 - group["lr"] * group["weight_decay"])
        w.add_(x, alpha=-group["lr"] * max(1.0, w.shape[0] / w.shape[1]) ** 0.5)


def batches(tok, stream, tokens, longest):
    """Micro-batches of one step: conversations sorted by length, so that padding is small. A conversation stands
    alone in its row and begins at position 0, as in use. Those over `longest` tokens are left out."""
    docs, size = [], 0
    while size < tokens:
        ids, learn = tok.conversation(next(stream)[1])
        if len(ids) <= longest:
            docs.append((ids, learn))
            size += len(ids)
    docs.sort(key=lambda d: len(d[0]))
    out, row = [], []
    for d in docs:
        if row and len(d[0]) * (len(row) + 1) > 1024:
            out.append(row)
            row = []
        row.append(d)
    out.append(row)
    result = []
    for rows in out:
        t = len(rows[-1][0])
        ids = torch.full((len(rows), t), tok.end)
        weight = torch.zeros((len(rows), t))
        for i, (a, b) in enumerate(rows):
            ids[i, :len(a)] = torch.tensor(a)
            weight[i, 1:len(b)] = torch.tensor([1.0 if x else USER_WEIGHT for x in b[1:]])
        result.append((ids, weight))
    return result, sum(len(d[0]) for d in docs)


def loss_sum(model, ids, weight):
    """The weighted loss summed over the tokens to learn."""
    keep = weight[:, 1:] > 0
    logits = model.logits(model.hidden(ids[:, :-1])[keep])
    return (F.cross_entropy(logits, ids[:, 1:][keep], reduction="none") * weight[:, 1:][keep]).sum()


def evaluate(model, sets, pool):
    """The loss per token of assistants."""
    def one(b):
        with torch.no_grad():
            return float(loss_sum(model, b[0], (b[1] == 1).float()))
    return sum(pool.map(one, sets)) / sum(int((b[1] == 1).sum()) for b in sets)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("merges")
    p.add_argument("checkpoint")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--steps", type=int, default=5000)
    p.add_argument("--minutes", type=float, default=1e9)
    p.add_argument("--tokens", type=int, default=4096, help="per step")
    p.add_argument("--lr", type=float, default=0.02, help="of the matrices; the rest learns at --lr-rest")
    p.add_argument("--lr-rest", type=float, default=0.004)
    p.add_argument("--short", type=float, default=0.15, help="share of the training with conversations up to 128 tokens")
    p.add_argument("--start", help="a checkpoint to go on from, with fresh optimisers")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--log", default="train.log")
    p.add_argument("--save-every", type=float, default=180, help="seconds")
    args = p.parse_args()

    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(args.threads, initializer=lambda: torch.set_num_threads(1))
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    tok = tokenizer.load(args.merges)
    model = Model(CONFIG)
    if args.start:
        model.load_state_dict(torch.load(args.start)["model"])
    matrices = [w for n, w in model.named_parameters() if w.dim() == 2 and n.startswith("blk")]
    rest = [w for n, w in model.named_parameters() if w.dim() == 1 or not n.startswith("blk")]
    opts = [Muon(matrices, args.lr, pool), torch.optim.AdamW(rest, args.lr_rest, betas=(0.9, 0.98), weight_decay=0.0)]
    held = {n: batches(tok, documents(99, "held", n), 3000, CONFIG["context"])[0]
            for n in ("story_begin", "story_qa", "small_qa", "sums", "facts_json", "lists", "repeat")}
    stream = documents(args.seed + 1000)
    log = open(args.log, "w")

    def say(line):
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    say("# %d parameters, seed %d, %d tokens a step, up to %d steps" %
        (sum(w.numel() for w in model.parameters()), args.seed, args.tokens, args.steps))
    say("# step tokens loss lr seconds; every 200 steps: held-out loss of each task")
    start, saved, seen, step, done, recent = time.time(), time.time(), 0, 0, 0.0, []
    params = matrices + rest
    while done < 1:
        done = min(1.0, max(step / args.steps, (time.time() - start) / 60 / args.minutes))
        scale = min(1.0, (step + 1) / 60) * max(0.02, 0.5 + 0.5 * math.cos(math.pi * done))
        for opt, lr in zip(opts, (args.lr, args.lr_rest)):
            for g in opt.param_groups:
                g["lr"] = lr * scale
        micro, n = batches(tok, stream, args.tokens, 128 if done < args.short else CONFIG["context"])
        learned = float(sum(b[1].sum() for b in micro))

        def gradients(b):
            loss = loss_sum(model, *b) / learned
            return float(loss), torch.autograd.grad(loss, params)

        total = 0.0
        for w in params:
            w.grad = None
        for loss, grads in pool.map(gradients, reversed(micro)):
            total += loss
            for w, g in zip(params, grads):
                w.grad = g if w.grad is None else w.grad.add_(g)
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for opt in opts:
            opt.step()
        seen += n
        step += 1
        recent.append(total)
        if step % 25 == 0 or done >= 1 or step <= 3:
            mean = sum(recent) / len(recent)
            recent = []
            say("%d %d %.4f %.5f %.0f" % (step, seen, mean, args.lr * scale, time.time() - start))
        if step % 200 == 0 or done >= 1:
            say("# " + " ".join("%s %.4f" % (k, evaluate(model, v, pool)) for k, v in held.items()))
        if time.time() - saved > args.save_every or done >= 1:
            torch.save({"model": model.state_dict(), "config": CONFIG, "step": step, "merges": tok.merges},
                       args.checkpoint + ".part")
            os.replace(args.checkpoint + ".part", args.checkpoint)
            saved = time.time()
    say("# final: %d steps, %d tokens, training loss %.4f" % (step, seen, mean))


if __name__ == "__main__":
    main()
