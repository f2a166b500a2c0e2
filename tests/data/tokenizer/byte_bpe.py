"""Makes byte_bpe.json: a small byte-level vocabulary, texts, and their ids under every split pattern.

Two oracles. Where nothing else is said the ids are llama.cpp's (snapshot of 2026-08-22). It approximates some patterns
(case of letters outside ASCII, marks, digits after other text); there, in REGEX below, the ids come from the pattern of
the model's public tokenizer.json, run by Python's `regex` module, and a plain merge loop.

  byte_bpe.py vocabularies DIR               one GGUF per name of NAMES, and texts.bin
  byte_bpe.py golden PEER.txt > byte_bpe.json   PEER.txt: for each name a line "# NAME", then one of ids per text

The merges are learnt on the texts without any splitting, so that a cut in the wrong place changes the ids.
"""
import collections
import json
import struct
import sys

TEXTS = [
    "I'm sure they don't: WE'LL see, You'Ve got it's'S, 'TIS rock'n'roll, I\u2019m he'd'LL",
    "1 12 123 1234 12345 123456 1234567 3.14 1,000,000 a1b22c333 x12345y 12345abc \u0663\u0664\u0665\u0666 12"
    "\u00bd \u2167\u2168 2\u00b2 007",
    "a  b   c    d\te\t\tf \t g\n\n h\r\n\r\n  i \n \n\n j \r k\n   ",
    "a\u00a0b\u3000\u3000c\u2003 d\u0085e\u2028f\u200bg \u00a0 h\u3000",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 caf\u00e9 cafe\u0301 e\u0301! \u0e44\u0e17\u0e22"
    "\u0e20\u0e32\u0e29\u0e32 \u09ac\u09be\u0982\u09b2\u09be",
    "\u6211\u60f3\u5728apple\u5de5\u4f5c1314\u5929\uff5e \u65e5\u672c\u8a9e\u30ab\u30bf\u30ab\u30ca\u3072\u3089"
    "\u304c\u306a\u3005 \ud55c\uad6d\uc5b4 \u3131\u3134 \u3105\u3106 \u4e2dA\u6587 B\u3002\u4e2d\u300c\u6587"
    "\u300d",
    "camelCaseHTTPServer \u00c9cole\u00c9tat \u0391\u0392\u03b3\u03b4 \u01c5abc \u02b0x STRASSE\u00df iPhone's I"
    "Phone'S McDonald",
    "\U0001f680 \U0001f636\u200d\U0001f32b\ufe0f\u2705\U0001f999\U0001f999 \u2764\ufe0f \U0001f469\U0001f3fd"
    "\u200d\U0001f680!",
    "!!! ??? ... --- === \u00abx\u00bb \u201cy\u201d \u3001\u3002\uff01\uff1f a_b-c/d\\e foo(bar);\n\n{x: [1]}\n"
    "// c\n/* */\n/ #!$%^&*+<=>|~`",
    "https://a.b/c?d=e&f=1#g  def f(x):\n\treturn x**2  # ok\n\n\n    if x!=y: .5",
    "<sentinel:12>IMGIMGABCZ<|x|> 'hello' \"quoted\" (a|b) $x = `y`; @z",
    "aaaaaaaaaaaaaaaaaaaa" + " " * 40 + "11111111111111111\n\n\n\n\n\n\n\n\n??????????????????????????????\t\t\t"
    "\t\t\t\t",
    "by the way, of the people in the world of the people by the way",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644"
    "\u0639\u0627\u0644\u0645\u060c \u05e9\u05dc\u05d5\u05dd\u06d4 \u0964 \u039a\u03b1\u03bb\u03b7\u03bc\u03ad"
    "\u03c1\u03b1",
    " leading and trailing ",
    "a;\n b);\n\n}\nc;\nd);\n\n;\n\r\n! \n? /\n//\n",
    "one zygote quokka, Zygote",
    "\u0001\u007f\u200e\ufeff\u00ad x\u0001y",
]
NAMES = """default minicpm5 llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano deepseek-llm
deepseek-coder deepseek-v3 youtu falcon mpt starcoder gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0
mellum modern-bert jais-2 jina-v1-en jina-v2-code roberta-bpe refact command-r qwen2 deepseek-r1-qwen kormo f2llmv2 qwen35
stablelm2 olmo dbrx smaug-bpe poro-chat glm4 chatglm-bpe viking jais tekken smollm codeshell bloom gpt3-finnish exaone
exaone4 exaone-moe chameleon minerva-7b megrez gpt-4o llama4 kanana2 talkie granite-embed-multi-97m tiny_aya cohere2moe
superbpe trillion granite-docling bailingmoe bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense joyai-llm kimi-k2
grok-2 afmoe laguna minimax-m2 solar-open mellum2""".split()
WHOLE = ["\u0120zygote", "\u0120quokka"]  # tokens that no merge makes

UP, LOW = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
S = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def o200k(tail, numbers):
    return (rf"[^\r\n\p{{L}}\p{{N}}]?[{UP}]*[{LOW}]+{tail}|[^\r\n\p{{L}}\p{{N}}]?[{UP}]+[{LOW}]*{tail}|{numbers}"
            rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}")


KIMI = (rf"\p{{Han}}+|[^\r\n\p{{L}}\p{{N}}]?[[{UP}]--\p{{Han}}]*[[{LOW}]--\p{{Han}}]+{S}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[[{UP}]--\p{{Han}}]+[[{LOW}]--\p{{Han}}]*{S}?"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{TAIL}")
GPT4O = [o200k(S + "?", r"\p{N}{1,3}")]
AYA = [r"\d{1,3}(?=(?:\d{3})*\b)"] + GPT4O
YOUTU = ["[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f"
         "\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", o200k(S + "?", r"\p{N}")]
AFMOE = [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", TAIL]  # for a text without letters outside ASCII and punctuation
# name: (patterns in order, texts)
REGEX = {"kimi-k2": ([KIMI], (4, 5, 6)), "tekken": ([o200k("", r"\p{N}")], (4, 6)), "youtu": (YOUTU, (6,)),
         "granite-embed-multi-97m": (GPT4O, (6,)), "tiny_aya": (AYA, (5, 6, 11)), "cohere2moe": (AYA, (5, 6, 11)),
         "afmoe": (AFMOE, (11,)), **{n: (GPT4O, (4, 6)) for n in ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2")}}
KEEPS_WHOLE = {"granite-embed-multi-97m", "tekken", "youtu"}


def spellings():
    out, n = [], 256
    for b in range(256):
        kept = 33 <= b <= 126 or 0xA1 <= b <= 0xAC or b >= 0xAE
        out.append(chr(b if kept else n))
        n += not kept
    return out


SPELL = spellings()


def spell(text):
    return [SPELL[b] for b in text.encode()]


def join(parts, pair):
    out = []
    for p in parts:
        if out and not out[-1][1] and (out[-1][0], p) == pair:
            out[-1] = (out[-1][0] + p, True)
        else:
            out.append((p, False))
    return [p for p, _ in out]


def learn():
    sequences, merges, made = [spell(t) for t in TEXTS], [], set(SPELL)
    while True:
        counts = collections.Counter(p for s in sequences for p in zip(s, s[1:]))
        left = [(n, p) for p, n in counts.items() if p[0] + p[1] not in made and len(p[0] + p[1]) <= 14]
        if not left:
            break
        pair = max(left)[1]
        merges.append(pair)
        made.add(pair[0] + pair[1])
        sequences = [join(s, pair) for s in sequences]
    kept, known = [], set(SPELL)
    for a, b in merges:
        if a in known and b in known and not any(w in a + b for w in ("zyg", "quok")):
            kept.append((a, b))
            known.add(a + b)
    return kept


MERGES = learn()
TOKENS = SPELL + [a + b for a, b in MERGES] + WHOLE + ["<s>"]


def encode(text, patterns, whole):
    import regex
    words = [text]
    for pattern in patterns:
        cut = []
        for word in words:
            at = 0
            for m in regex.compile(pattern, regex.V1).finditer(word):
                cut += [word[at:m.start()], m.group()]
                at = m.end()
            cut.append(word[at:])
        words = [w for w in cut if w]
    rank, ids = {p: i for i, p in enumerate(MERGES)}, {t: i for i, t in enumerate(TOKENS)}
    out = []
    for word in words:
        parts = spell(word)
        if whole and "".join(parts) in ids:
            out.append(ids["".join(parts)])
            continue
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda i: (rank.get((parts[i], parts[i + 1]), 1 << 30), i))
            if (parts[best], parts[best + 1]) not in rank:
                break
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        out += [ids[p] for p in parts]
    return out


def gguf(path, pre):
    def text(s):
        return struct.pack("<Q", len(s.encode())) + s.encode()

    def array(kind, items):
        return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

    keys = [("general.architecture", struct.pack("<I", 8) + text("llama")),
            ("tokenizer.ggml.model", struct.pack("<I", 8) + text("gpt2")),
            ("tokenizer.ggml.pre", struct.pack("<I", 8) + text(pre)),
            ("tokenizer.ggml.tokens", array(8, [text(t) for t in TOKENS])),
            ("tokenizer.ggml.token_type", array(5, [struct.pack("<i", 3 if t == "<s>" else 1) for t in TOKENS])),
            ("tokenizer.ggml.merges", array(8, [text(f"{a} {b}") for a, b in MERGES])),
            ("tokenizer.ggml.bos_token_id", struct.pack("<II", 4, len(TOKENS) - 1))]
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(text(k) + v for k, v in keys))


def golden(path):
    peer, name = {}, None
    for line in open(path):
        if line.startswith("# "):
            name = line[2:].strip()
            peer[name] = []
        else:
            peer[name].append(line.split())
    bos = str(len(TOKENS) - 1)
    adds_bos = [n for n in NAMES if peer[n][0][:1] == [bos]]
    ids = {n: [" ".join(line[n in adds_bos:]) for line in peer[n]] for n in NAMES}
    for n, (patterns, texts) in REGEX.items():
        for i in texts:
            ids[n][i] = " ".join(map(str, encode(TEXTS[i], patterns, n in KEEPS_WHOLE)))
    groups = {}
    for n in NAMES:
        groups.setdefault(tuple(ids[n]), []).append(n)
    print(json.dumps({"made_by": "byte_bpe.py", "whole": WHOLE, "merges": [f"{a} {b}" for a, b in MERGES],
                      "adds_bos": adds_bos, "texts": TEXTS,
                      "ids": [{"pre": names, "ids": list(lines)} for lines, names in groups.items()]}, indent=0))


if __name__ == "__main__":
    if sys.argv[1] == "vocabularies":
        for pre in NAMES:
            gguf(f"{sys.argv[2]}/{pre}.gguf", pre)
        with open(f"{sys.argv[2]}/texts.bin", "wb") as f:
            f.write(b"".join(t.encode() + b"\0" for t in TEXTS))
    else:
        golden(sys.argv[2])
