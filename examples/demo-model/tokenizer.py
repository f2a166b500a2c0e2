"""Byte-level BPE: the trainer and the encoder. The alphabet and the pre-tokeniser pattern are those of GPT-2 (its
encoder.py, MIT), which GGUF names tokenizer.ggml.model "gpt2" and tokenizer.ggml.pre "gpt-2". Digits are never merged,
so every number is read digit by digit."""
import collections
import json
import re
import sys

VOCAB_SIZE = 2048
SPECIAL = ["<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]

# \p{L} is [^\W\d_] and \p{N} is \d in Python's re; the two differ only outside the text that we write.
PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes, in GPT-2's order."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table = {b: chr(b) for b in keep}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(keep))
    return table


BYTES = byte_alphabet()


def train(texts):
    """Merges, in order, from the most frequent pair down; ties go to the alphabetically first pair."""
    counts = collections.Counter()
    for text in texts:
        counts.update(PATTERN.findall(text))
    words = [([BYTES[b] for b in w.encode()], n) for w, n in counts.items() if not any(c.isdigit() for c in w)]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (word, n) in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += n
            where[pair].add(i)
    merges = []
    while len(merges) < VOCAB_SIZE - 256 - len(SPECIAL):
        best = max(pairs, key=lambda p: (pairs[p], [-ord(c) for c in p[0] + " " + p[1]]))
        if pairs[best] < 1:
            raise SystemExit("the text is too small for %d merges" % (VOCAB_SIZE - 256 - len(SPECIAL)))
        merges.append(best)
        for i in where.pop(best):
            word, n = words[i]
            for pair in zip(word, word[1:]):
                pairs[pair] -= n
            word = merge(word, best)
            words[i] = (word, n)
            for pair in zip(word, word[1:]):
                pairs[pair] += n
                where[pair].add(i)
        del pairs[best]
    return merges


def merge(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


class Tokenizer:
    """Ids: 0 to 255 the bytes, then one per merge, then the special tokens."""

    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.tokens = list(BYTES.values()) + [a + b for a, b in self.merges] + SPECIAL
        self.id = {t: i for i, t in enumerate(self.tokens)}
        if len(self.id) != VOCAB_SIZE:
            raise SystemExit("two merges give the same token")
        self.bos, self.system, self.user, self.assistant, self.end = (self.id[s] for s in SPECIAL)
        self.unbyte = {c: b for b, c in BYTES.items()}
        self.cache = {}

    def word(self, piece):
        ids = self.cache.get(piece)
        if ids is None:
            word = [BYTES[b] for b in piece.encode()]
            while len(word) > 1:
                pair = min(zip(word, word[1:]), key=lambda p: self.rank.get(p, 1 << 30))
                if pair not in self.rank:
                    break
                word = merge(word, pair)
            ids = self.cache[piece] = [self.id[t] for t in word]
        return ids

    def encode(self, text):
        return [i for piece in PATTERN.findall(text) for i in self.word(piece)]

    def decode(self, ids):
        return b"".join(self.tokens[i].encode() if i >= VOCAB_SIZE - len(SPECIAL) else
                        bytes(self.unbyte[c] for c in self.tokens[i]) for i in ids).decode(errors="replace")

    def conversation(self, turns):
        """(ids, learn): learn[i] is true where token i is the model's own to predict: an assistant turn with its end,
        or raw text. The chat form is <|bos|> then <|role|>text<|end|> for each turn."""
        ids, learn = [self.bos], [False]
        for role, text in turns:
            if role != "raw":
                ids.append(self.id["<|%s|>" % role])
                learn.append(False)
            body = self.encode(text) + [self.end]
            ids += body
            learn += [role in ("assistant", "raw")] * len(body)
        return ids, learn

    def prompt(self, turns):
        return self.conversation(turns)[0] + [self.assistant]


def load(path):
    with open(path, encoding="utf-8") as f:
        return Tokenizer(json.load(f))


if __name__ == "__main__":
    from generate import documents
    stream = documents(seed=2)
    found = train(text for _ in range(60000) for _, text in next(stream)[1])
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump(found, out, ensure_ascii=False)
        out.write("\n")
