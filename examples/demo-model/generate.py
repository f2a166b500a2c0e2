"""Prints what the model is trained on: generate.py [--seed N] [--count N] [--task NAME] [--held]. The text is a function
of the seed alone, so it is made when needed and not kept in the repository."""
import argparse
import random

from tasks import TASKS, document


def documents(seed, split="train", task=None):
    r = random.Random(seed)
    while True:
        yield document(r, split, task)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=10)
    p.add_argument("--task", choices=sorted(TASKS))
    p.add_argument("--held", action="store_true", help="only what training never sees")
    args = p.parse_args()
    stream = documents(args.seed, "held" if args.held else "train", args.task)
    for _ in range(args.count):
        name, turns = next(stream)
        print("---", name)
        for role, text in turns:
            print(role + ": " + text)
