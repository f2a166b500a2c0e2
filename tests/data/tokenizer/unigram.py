"""Makes unigram.json: two small unigram models, texts and their ids, by the SentencePiece library (0.1.97), which
trains them. The first normalises by rules of its own, drops extra spaces and has an unknown token; the second keeps the
text and has byte tokens.  unigram.py > unigram.json
"""
import io
import json

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

CORPUS = """The quick brown fox jumps over the lazy dog. The dog sleeps; the fox runs away from the dog.
International trade of natural stones and the nation's internationalisation. Nations trade, nationals travel.
A running runner runs the rounds of the town; running water, running costs. She sells sea shells by the sea shore.
Unhappiness and happiness, kindness and unkindness: the happy and the unhappy. Trains train trainees in training.
one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen 1 2 3 4 5 6 7 8 9 10
Straße Größe Füße für über Tür; café naïve façade; ça va? où est la gare? la garde regarde le gardien.""".split("\n") * 8
RULES = {"\u00a0": " ", "\t": " ", "\n": " ", "\u3000": " ", "\uff21": "A", "\uff22": "B", "\ufb01": "fi", "\u00bd": "1/2",
         "e\u0301": "\u00e9", "\u200b": "", "\u2026": "...", "ss\u00df": "sss", "\u01c4": "D\u017d", "\u2167": "VIII"}
TEXTS = ["The international runner runs.", "  two   spaces\t\ttab\nline  ", "unkindnesses internationally", "", " ", "x",
         "\uff21\uff22 \ufb01ne \u00bd cafe\u0301 cafe\u00e9 a\u200bb\u2026 ss\u00df s\u00df \u01c4 \u2167", "\u4e16\u754c hello \u4e16",
         "\U0001F680\U0001F680 fox \U0001F680", "\u3000\u00a0dog\u00a0", "\u200b", "a\u2581b", "QQQQZZZZ runsQQ",
         "The dog sleeps; the fox runs away from the lazy dog, 12345678910 trainees." * 3, "e\u0301\u0301", "the" * 40]


def model(**options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=out, model_type="unigram",
                                             hard_vocab_limit=False, num_threads=1, minloglevel=2, **options)
    proto = pb.ModelProto()
    proto.ParseFromString(out.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    return {"tokens": [p.piece for p in proto.pieces], "scores": [p.score for p in proto.pieces],
            "types": [p.type for p in proto.pieces], "charsmap": proto.normalizer_spec.precompiled_charsmap.hex(),
            "add_space_prefix": proto.normalizer_spec.add_dummy_prefix,
            "remove_extra_whitespaces": proto.normalizer_spec.remove_extra_whitespaces,
            "ids": [" ".join(map(str, processor.encode(t))) for t in TEXTS]}


with open("/tmp/unigram_rules.tsv", "w") as f:
    for source, target in RULES.items():
        f.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")
print(json.dumps({"made_by": "unigram.py", "texts": TEXTS, "models": [
    model(vocab_size=180, normalization_rule_tsv="/tmp/unigram_rules.tsv", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
    model(vocab_size=400, normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True),
]}, indent=0))
