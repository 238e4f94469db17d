"""The work of `work.rs`, done by PyTorch on the CPU: same weights, tokens and steps, same lines on standard output.

`aar bench lm` starts it: python3 -c SCRIPT KIND FILE.gguf THREADS

Nothing is padded, the head reads the last tokens alone, and the last four layers are trained on kept states, as there.
"""

import ctypes
import gc
import json
import os
import resource
import sys
import time
from pathlib import Path

# What libraries print goes to standard error; standard output is for the lines that the other side reads.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import torch
import transformers

ROWS, LENGTH = 16, 64


def tell(**what):
    print(json.dumps(what), file=answers, flush=True)


def clock():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), use.ru_utime + use.ru_stime


def training(trained, loss):
    """A step of AdamW on the trained weights; gives the loss before it."""
    optimiser = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)

    def step():
        optimiser.zero_grad(set_to_none=False)
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        return value.item(), ROWS * LENGTH

    return step


def work(kind, model):
    """A step of one kind: a function that gives an answer and the tokens that it went through or made."""
    tokens = torch.tensor([i * 7919 % 40_000 + 100 for i in range(ROWS * LENGTH)]).reshape(ROWS, LENGTH)
    targets = torch.tensor([49 + row % 2 for row in range(ROWS)])
    loss_of = torch.nn.functional.cross_entropy

    def generate():
        out = model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
                             max_new_tokens=LENGTH, pad_token_id=0, eos_token_id=2)
        made = int((out[:, LENGTH:] != 0).sum())
        return made, made

    @torch.no_grad()
    def forward():
        logits = model(tokens, logits_to_keep=1, use_cache=False).logits[:, -1]
        return logits.max(-1).values.mean().item(), ROWS * LENGTH

    if kind == "generate":
        return generate
    if kind == "forward":
        return forward
    if kind == "lora":
        from peft import LoraConfig, get_peft_model

        matrices = ["q_proj", "k_proj", "v_proj", "o_proj"]
        adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=8, target_modules=matrices))
        return training(
            [p for p in adapted.parameters() if p.requires_grad],
            lambda: loss_of(adapted(input_ids=tokens, logits_to_keep=1, use_cache=False).logits[:, -1], targets),
        )
    model.requires_grad_(False)
    layers = model.model.layers[-4:]
    layers.requires_grad_(True)
    with torch.no_grad():
        states = model.model(tokens, output_hidden_states=True, use_cache=False).hidden_states[-5]
        turns = model.model.rotary_emb(states, torch.arange(LENGTH)[None])
    mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)[None, None]

    def last_layers():
        x = states
        for layer in layers:
            x = layer(x, attention_mask=mask, position_embeddings=turns)
            x = x[0] if isinstance(x, tuple) else x
        return loss_of(model.lm_head(model.model.norm(x[:, -1])), targets)

    return training(list(layers.parameters()), last_layers)


def main():
    kind, file, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    model.eval()
    # What loading took does not count: what is free goes back, and from here on the peak is that of the work.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then the peak is that of the whole process
    step = work(kind, model)
    answer, tokens = step()
    engine = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
    tell(engine=engine, answer=answer, tokens=tokens)
    for _ in sys.stdin:
        began = clock()
        step()
        ended = clock()
        tell(wall_s=ended[0] - began[0], cpu_s=ended[1] - began[1])
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    tell(peak_mb=peak * 1024 / 1e6)


main()
