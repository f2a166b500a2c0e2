"""Writes the trained model as GGUF v3 and the golden files: export.py CHECKPOINT [--out DIR]. The layout is that of the
GGUF specification (ggml-org/ggml, docs/gguf.md): little-endian, dimensions fastest first, data aligned to 32 bytes."""
import argparse
import json
import os
import struct

import numpy as np
import torch

import tokenizer
from model import Model

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
INT32 = 5
TYPE_F32, TYPE_Q8_0 = 0, 8
FILE_TYPE = {"F32": 0, "Q8_0": 7}

# The template writes the first token itself, as the training text has it exactly once; a program that adds a first
# token to the rendered text as well must look whether it is already there.
TEMPLATE = ("{{ bos_token }}{% for message in messages %}{% if message['role'] in ['system', 'user', 'assistant'] %}"
            "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")

PROMPTS = [[("user", "Once upon a time")], [("user", "What is 7 + 5?")], [("raw", "Once upon a time, a")]]


def q8_0(w):
    """Blocks of 32: an f16 scale and 32 signed bytes."""
    w = w.reshape(-1, 32)
    scale = (np.abs(w).max(1) / 127).astype(np.float16)
    inverse = np.where(scale > 0, 1 / np.maximum(scale.astype(np.float32), 1e-30), 0)
    q = np.clip(np.rint(w * inverse[:, None]), -127, 127).astype(np.int8)
    return scale, q


def encode_q8_0(w):
    scale, q = q8_0(w)
    return np.concatenate([scale.view(np.uint8).reshape(-1, 2), q.view(np.uint8)], 1).tobytes()


def decode_q8_0(w):
    scale, q = q8_0(w)
    return (q.astype(np.float32) * scale.astype(np.float32)[:, None]).reshape(w.shape)


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == STRING:
        return text(v)
    if kind == ARRAY:
        kind, items = v
        return struct.pack("<IQ", kind, len(items)) + b"".join(value(kind, x) for x in items)
    return struct.pack({U32: "<I", INT32: "<i", F32: "<f", BOOL: "<?"}[kind], v)


def write_gguf(path, metadata, tensors, quantise):
    infos, data = b"", b""
    for name, w in tensors:
        matrix = quantise and w.ndim == 2
        infos += text(name) + struct.pack("<I", w.ndim) + struct.pack("<%dQ" % w.ndim, *reversed(w.shape))
        infos += struct.pack("<IQ", TYPE_Q8_0 if matrix else TYPE_F32, len(data))
        data += encode_q8_0(w) if matrix else w.astype("<f4").tobytes()
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(k) + struct.pack("<I", kind) + value(kind, v) for k, kind, v in metadata) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


def metadata(c, tok, name, file_type):
    special = len(tok.tokens) - len(tokenizer.SPECIAL)
    return [
        ("general.architecture", STRING, "llama"), ("general.name", STRING, name),
        ("general.license", STRING, "MIT"),
        ("general.description", STRING, "The demo model that comes with Tern: little stories, small sums, lists, JSON."),
        ("general.quantization_version", U32, 2), ("general.file_type", U32, FILE_TYPE[file_type]),
        ("llama.block_count", U32, c["layers"]), ("llama.context_length", U32, c["context"]),
        ("llama.embedding_length", U32, c["dim"]), ("llama.feed_forward_length", U32, c["ff"]),
        ("llama.attention.head_count", U32, c["heads"]), ("llama.attention.head_count_kv", U32, c["kv_heads"]),
        ("llama.rope.dimension_count", U32, c["dim"] // c["heads"]), ("llama.rope.freq_base", F32, c["rope_base"]),
        ("llama.attention.layer_norm_rms_epsilon", F32, c["eps"]), ("llama.vocab_size", U32, c["vocab"]),
        ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tok.tokens)),
        ("tokenizer.ggml.token_type", ARRAY, (INT32, [1 if i < special else 3 for i in range(len(tok.tokens))])),
        ("tokenizer.ggml.merges", ARRAY, (STRING, [a + " " + b for a, b in tok.merges])),
        ("tokenizer.ggml.bos_token_id", U32, tok.bos), ("tokenizer.ggml.eos_token_id", U32, tok.end),
        ("tokenizer.ggml.add_bos_token", BOOL, True), ("tokenizer.chat_template", STRING, TEMPLATE),
    ]


def load(path, quantised=True):
    """The model and tokeniser of a checkpoint; quantised: with the matrices as the Q8_0 file holds them."""
    state = torch.load(path)
    model, tok = Model(state["config"]), tokenizer.Tokenizer(state["merges"])
    model.load_state_dict(state["model"])
    if quantised:
        with torch.no_grad():
            for w in model.parameters():
                if w.dim() == 2:
                    w.copy_(torch.from_numpy(decode_q8_0(w.numpy())))
    return model.eval(), tok


def tensors(model):
    out = [(n, w.detach().numpy()) for n, w in model.named_parameters()]
    return out[:1] + out[-1:] + out[1:-1]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("checkpoint")
    p.add_argument("--out", default=".")
    p.add_argument("--f32", metavar="FILE", help="write the unrounded weights as F32, too")
    args = p.parse_args()
    torch.set_num_threads(1)
    goldens = os.path.join(args.out, "goldens")
    os.makedirs(goldens, exist_ok=True)

    exact, tok = load(args.checkpoint, quantised=False)
    write_gguf(os.path.join(args.out, "tern-demo.gguf"), metadata(exact.c, tok, "Tern demo", "Q8_0"), tensors(exact), True)
    if args.f32:
        write_gguf(args.f32, metadata(exact.c, tok, "Tern demo", "F32"), tensors(exact), False)

    # The goldens are of the weights as the Q8_0 file has them, so that the test needs no second file: it writes them
    # as F32 itself.
    rounded, _ = load(args.checkpoint)
    cases = []
    for i, turns in enumerate(PROMPTS, 1):
        ids = tok.conversation(turns)[0][:-1] if turns[0][0] == "raw" else tok.prompt(turns)
        cases.append(dict(ids=ids, text="".join(tok.tokens[t] if t >= tok.bos else tok.decode([t]) for t in ids)))
        with torch.no_grad():
            logits = rounded(torch.tensor([ids]))[0]
        logits.numpy().astype("<f4").tofile(os.path.join(goldens, "prompt-%d.f32" % i))
    with open(os.path.join(goldens, "prompts.json"), "w", encoding="utf-8") as f:
        json.dump(cases, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
