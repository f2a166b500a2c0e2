"""Text from a checkpoint, as the Q8_0 file has its weights: sample.py CHECKPOINT [PROMPT...] [--raw], or the score of
each task on held-out prompts with --score, or the README's ten prompts with --readme. Greedy."""
import argparse
import random

import torch

from export import load
from tasks import document

# None of these is in the training text: held-out names, or combinations and wordings that it never writes.
README_PROMPTS = [[("user", text)] for text in (
    "Tell me a story about Selma and a silver flute.",
    "Tell me a story about a girl named Ingrid and a green lantern.",
    "One day Yvonne the walrus",
    "Ingrid is 7 years old and lives in Turin. Give this as JSON.",
    "Gerald is a nurse, has a parrot and comes from Riga. Give this as JSON.",
    "Petra has a red kite. Tariq has a blue kite. Who has the blue kite?",
    "Yvonne has 8 plums. She buys 5 more. How many plums does Yvonne have now?",
    "List four sports.",
    "Good morning, I am Astrid.",
    "Who invented the telephone?",
)]


def generate(model, tok, ids, limit=320):
    start = len(ids)
    while len(ids) < model.c["context"] and len(ids) - start < limit:
        with torch.no_grad():
            best = int(model.logits(model.hidden(torch.tensor([ids]))[0, -1]).argmax())
        if best == tok.end:
            break
        ids = ids + [best]
    return tok.decode(ids[start:])


def score(model, tok, count):
    """Answers that equal the expected text; for lists: the right number of different known items."""
    exact_tasks = "story_qa small_qa sums word_problem count facts_json knowledge chat".split()
    for name in exact_tasks + ["lists"]:
        r, right, n = random.Random(12345), 0, 0
        wrong = []
        while n < count:
            _, turns = document(r, "held", name)
            n += 1
            given = generate(model, tok, tok.prompt(turns[:-1]), 80)
            if name == "lists":
                norm = lambda s: sorted(w for w in s.lower().replace(" and ", ", ").replace("\n", ", ").replace('"', "")
                                        .strip("[].").split(", "))
                items = [x.split(". ")[-1].strip() for x in norm(given)]
                expected = [x.split(". ")[-1].strip() for x in norm(turns[-1][1])]
                ok = len(items) == len(expected) == len(set(items))
            else:
                ok = given == turns[-1][1]
            right += ok
            if not ok:
                wrong.append((turns[-2][1][-150:], turns[-1][1], given))
        print("%s %d/%d" % (name, right, n), flush=True)
        for w in wrong[:3]:
            print("    %r expected %r, said %r" % w)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("checkpoint")
    p.add_argument("prompt", nargs="*")
    p.add_argument("--raw", action="store_true", help="complete the text, no chat form")
    p.add_argument("--score", type=int, metavar="N", help="held-out prompts per task")
    p.add_argument("--readme", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(1)
    model, tok = load(args.checkpoint)
    if args.score:
        score(model, tok, args.score)
    if args.readme:
        for turns in README_PROMPTS:
            print("> %s\n\n%s\n" % (turns[-1][1], generate(model, tok, tok.prompt(turns))))
    for prompt in args.prompt:
        ids = [tok.bos] + tok.encode(prompt) if args.raw else tok.prompt([("user", prompt)])
        print("> " + prompt + "\n" + generate(model, tok, ids) + "\n")


if __name__ == "__main__":
    main()
