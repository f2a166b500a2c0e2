"""Trains the demo model on the CPU: train.py MERGES CHECKPOINT [--steps N] [--minutes M]. The learning rate falls with
the steps done or the time used, whichever is further on, so a slower machine ends in time with fewer steps."""
import argparse
import math
import os
import time

import torch
from torch.nn import functional as F

import tokenizer
from generate import documents
from model import CONFIG, Model


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised by a Newton-Schulz iteration (Keller Jordan, "Muon", 2024): for the
    matrices inside the layers."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.02):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                state = self.state[w]
                m = state.setdefault("m", torch.zeros_like(w))
                m.lerp_(w.grad, 1 - group["momentum"])
                x = w.grad.lerp(m, group["momentum"]).bfloat16()
                tall = x.shape[0] > x.shape[1]
                x = x.t() if tall else x
                x = (x / (x.norm() + 1e-7)).contiguous()
                for _ in range(5):
                    a = x @ x.t()
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
                x = x.t() if tall else x
                w.mul_(1 - group["lr"] * group["weight_decay"])
                w.add_(x.float(), alpha=-group["lr"] * max(1.0, w.shape[0] / w.shape[1]) ** 0.5)


def batches(tok, stream, tokens, context):
    """Micro-batches of one step: conversations sorted by length, so that padding is small. A conversation stands
    alone in its row and begins at position 0, as in use."""
    docs, size = [], 0
    while size < tokens:
        ids, learn = tok.conversation(next(stream)[1])
        if len(ids) <= context:
            docs.append((ids, learn))
            size += len(ids)
    docs.sort(key=lambda d: len(d[0]))
    out, row = [], []
    for d in docs:
        if row and len(d[0]) * (len(row) + 1) > 4096:
            out.append(row)
            row = []
        row.append(d)
    out.append(row)
    result = []
    for rows in out:
        t = len(rows[-1][0])
        ids = torch.full((len(rows), t), tok.end)
        learn = torch.zeros((len(rows), t), dtype=torch.bool)
        for i, (a, b) in enumerate(rows):
            ids[i, :len(a)] = torch.tensor(a)
            learn[i, :len(b)] = torch.tensor(b)
        result.append((ids, learn))
    return result, sum(len(d[0]) for d in docs)


def loss_sum(model, ids, learn):
    """The loss summed over the tokens to learn, and their number."""
    logits = model.logits(model.hidden(ids[:, :-1], torch.bfloat16)[learn[:, 1:]])
    return F.cross_entropy(logits.float(), ids[:, 1:][learn[:, 1:]], reduction="sum"), int(learn[:, 1:].sum())


def evaluate(model, sets):
    with torch.no_grad():
        total = [loss_sum(model, *b) for b in sets]
    return float(sum(x for x, _ in total)) / sum(n for _, n in total)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("merges")
    p.add_argument("checkpoint")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--steps", type=int, default=1500)
    p.add_argument("--minutes", type=float, default=1e9)
    p.add_argument("--tokens", type=int, default=8192, help="per step")
    p.add_argument("--lr", type=float, default=0.02, help="of the matrices; the rest learns at --lr-rest")
    p.add_argument("--lr-rest", type=float, default=0.004)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--log", default="train.log")
    p.add_argument("--save-every", type=float, default=180, help="seconds")
    args = p.parse_args()

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    tok = tokenizer.load(args.merges)
    model = Model(CONFIG)
    matrices = [w for n, w in model.named_parameters() if w.dim() == 2 and n.startswith("blk")]
    rest = [w for n, w in model.named_parameters() if w.dim() == 1 or not n.startswith("blk")]
    opts = [Muon(matrices, args.lr), torch.optim.AdamW(rest, args.lr_rest, betas=(0.9, 0.98), weight_decay=0.0)]
    held = batches(tok, documents(99, "held"), 12000, CONFIG["context"])[0]
    stream = documents(args.seed + 1000)
    log = open(args.log, "w")

    def say(line):
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    say("# %d parameters, seed %d, %d tokens a step, up to %d steps" %
        (sum(w.numel() for w in model.parameters()), args.seed, args.tokens, args.steps))
    say("# step tokens loss lr seconds held-out-loss")
    start, saved, seen, step, done, recent = time.time(), time.time(), 0, 0, 0.0, []
    while done < 1:
        done = max(step / args.steps, (time.time() - start) / 60 / args.minutes)
        done = min(done, 1.0)
        scale = min(1.0, (step + 1) / 40) * max(0.02, 0.5 + 0.5 * math.cos(math.pi * done))
        for opt, lr in zip(opts, (args.lr, args.lr_rest)):
            for g in opt.param_groups:
                g["lr"] = lr * scale
        micro, n = batches(tok, stream, args.tokens, CONFIG["context"])
        learned = sum(int(b[1][:, 1:].sum()) for b in micro)
        total = 0.0
        for opt in opts:
            opt.zero_grad()
        for b in micro:
            loss, _ = loss_sum(model, *b)
            (loss / learned).backward()
            total += float(loss)
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for opt in opts:
            opt.step()
        seen += n
        step += 1
        recent.append(total / learned)
        if step % 25 == 0 or done >= 1 or step <= 3:
            mean = sum(recent) / len(recent)
            recent = []
            check = "%.4f" % evaluate(model, held) if step % 100 == 0 or done >= 1 else "-"
            say("%d %d %.4f %.5f %.0f %s" % (step, seen, mean, args.lr * scale, time.time() - start, check))
        if time.time() - saved > args.save_every or done >= 1:
            torch.save({"model": model.state_dict(), "config": CONFIG, "step": step, "merges": tok.merges},
                       args.checkpoint + ".part")
            os.replace(args.checkpoint + ".part", args.checkpoint)
            saved = time.time()
    say("# final: %d steps, %d tokens, training loss %.4f, held-out loss %.4f" %
        (step, seen, mean, evaluate(model, held)))


if __name__ == "__main__":
    main()
