"""Makes jina-en.gguf and jina-code.gguf, tiny models of the two kinds of jina-bert-v2 with random F32 weights, bert-rank.gguf,
a BERT that ranks, and tokens.txt. The .f32 are llama.cpp's (snapshot of 2026-08-22, CPU, no flash attention) pooled,
unnormalised embeddings of each line of tokens.txt.  jina.py DIR
"""
import struct
import sys

import numpy as np

WIDTH, HEADS, LAYERS, INNER, VOCAB, CONTEXT = 32, 4, 2, 24, 40, 64


class File:
    def __init__(self, architecture, pooling):
        self.random = np.random.default_rng(7)
        self.keys, self.tensors = [], []
        self.architecture = architecture
        self.text("general.architecture", architecture)
        self.text("tokenizer.ggml.model", "no_vocab")
        for key, value in [("block_count", LAYERS), ("context_length", CONTEXT), ("embedding_length", WIDTH),
                           ("feed_forward_length", INNER), ("attention.head_count", HEADS), ("vocab_size", VOCAB),
                           ("pooling_type", pooling)]:
            self.keys.append((f"{architecture}.{key}", struct.pack("<II", 4, value)))
        self.keys.append((f"{architecture}.attention.layer_norm_epsilon", struct.pack("<If", 6, 1e-12)))
        self.keys.append((f"{architecture}.attention.causal", struct.pack("<I?", 7, False)))
        self.keys.append(("tokenizer.ggml.token_type_count", struct.pack("<II", 4, 2)))

    def text(self, key, value):
        self.keys.append((key, struct.pack("<IQ", 8, len(value)) + value.encode()))

    def add(self, name, *shape, mean=0.0, spread=None):
        spread = spread if spread is not None else 1.5 / np.sqrt(shape[0])
        data = mean + spread * self.random.standard_normal(int(np.prod(shape)))
        self.tensors.append((name, shape, data.astype("<f4").tobytes()))

    def norm(self, name, n=WIDTH):
        self.add(name + ".weight", n, mean=1.0, spread=0.2)
        self.add(name + ".bias", n, spread=0.2)

    def linear(self, name, rows, cols, bias=True):
        self.add(name + ".weight", cols, rows)
        if bias:
            self.add(name + ".bias", rows, spread=0.2)

    def write(self, path):
        def s(t):
            return struct.pack("<Q", len(t)) + t.encode()
        out = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))
        out += b"".join(s(k) + v for k, v in self.keys)
        at = 0
        for name, shape, data in self.tensors:
            out += s(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape)
            out += struct.pack("<IQ", 0, at)
            at += (len(data) + 31) // 32 * 32
        out += b"\0" * (-len(out) % 32)
        for _, _, data in self.tensors:
            out += data + b"\0" * (-len(data) % 32)
        with open(path, "wb") as f:
            f.write(out)


def embeddings(f):
    f.add("token_embd.weight", WIDTH, VOCAB, spread=1.0)
    f.add("token_types.weight", WIDTH, 2, spread=0.5)
    f.norm("token_embd_norm")


def layers(f, code=False, gated=True):
    for i in range(LAYERS):
        p = f"blk.{i}."
        for part in "qkv":
            f.linear(p + "attn_" + part, WIDTH, WIDTH)
        if code:
            f.norm(p + "attn_q_norm")
            f.norm(p + "attn_k_norm")
            f.norm(p + "attn_norm_2")
        f.linear(p + "attn_output", WIDTH, WIDTH)
        f.norm(p + "attn_output_norm")
        if gated and not code:
            f.linear(p + "ffn_gate", INNER, WIDTH, bias=False)
        f.linear(p + "ffn_up", 2 * INNER if code else INNER, WIDTH, bias=not gated)
        f.linear(p + "ffn_down", WIDTH, INNER)
        f.norm(p + "layer_output_norm")


folder = sys.argv[1]
for name, code in (("jina-en", False), ("jina-code", True)):
    jina = File("jina-bert-v2", 1)
    embeddings(jina)
    layers(jina, code)
    jina.write(f"{folder}/{name}.gguf")
rank = File("bert", 4)
embeddings(rank)
rank.add("position_embd.weight", WIDTH, CONTEXT, spread=0.5)
layers(rank, gated=False)
rank.linear("cls", WIDTH, WIDTH)
rank.linear("cls.output", 1, WIDTH)
rank.write(f"{folder}/bert-rank.gguf")
draw = np.random.default_rng(3)
with open(f"{folder}/tokens.txt", "w") as f:
    for count in (1, 7, 23, 64):
        f.write(" ".join(str(n) for n in draw.integers(0, VOCAB, count)) + "\n")
