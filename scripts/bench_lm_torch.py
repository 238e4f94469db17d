#!/usr/bin/env python3
"""The work of `cargo bench -p aar-models --bench lm`, done by PyTorch on the CPU: same model, tokens and steps.

    pip install torch==2.15.0 transformers==5.23.0 peft==0.21.2 gguf==0.19.0 tokenizers==0.23.2
    python3 scripts/bench_lm_torch.py --weights DIR [--only NAME] [--threads N]

One process for each kind of work, so that each has a peak of its own. Prints one JSON object a line, in the form of the
bench: wall seconds of the fastest step after the first, CPU seconds of the mean one, peak memory of the process from
the time the weights are loaded. Nothing is padded, the head reads the last tokens alone, and the last four layers are
trained on kept states, as there.
"""

import argparse
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROWS, LENGTH, STEPS = 16, 64, 4
KINDS = ["forward", "lora", "last4", "generate"]


def work(name, weights, threads):
    import torch
    from lm_fixtures import smollm2_model

    torch.set_num_threads(threads)
    model, _ = smollm2_model(weights)
    # What loading took does not count: what is free goes back, and from here on the peak is that of the work.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    tokens = torch.tensor([i * 7919 % 40_000 + 100 for i in range(ROWS * LENGTH)]).reshape(ROWS, LENGTH)
    targets = torch.tensor([49 + row % 2 for row in range(ROWS)])
    laps = []

    def lap():
        use = resource.getrusage(resource.RUSAGE_SELF)
        laps.append((time.perf_counter(), use.ru_utime + use.ru_stime))

    def run(loss, trained):
        optimiser = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
        for _ in range(STEPS):
            optimiser.zero_grad(set_to_none=False)
            loss().backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            lap()

    made = ROWS * LENGTH
    if name == "generate":
        for _ in range(STEPS):
            out = model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
                                 max_new_tokens=LENGTH, pad_token_id=0, eos_token_id=2)
            lap()
        new = out[:, LENGTH:]
        made = int((new != 0).sum())
    elif name == "forward":
        with torch.no_grad():
            for _ in range(STEPS):
                model(tokens, logits_to_keep=1, use_cache=False)
                lap()
    elif name == "lora":
        from peft import LoraConfig, get_peft_model

        targets_of = ["q_proj", "k_proj", "v_proj", "o_proj"]
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=8, target_modules=targets_of))

        def loss():
            logits = model(input_ids=tokens, logits_to_keep=1, use_cache=False).logits[:, -1]
            return torch.nn.functional.cross_entropy(logits, targets)

        run(loss, [p for p in model.parameters() if p.requires_grad])
    else:
        model.requires_grad_(False)
        layers = model.model.layers[-4:]
        layers.requires_grad_(True)
        rotary = model.model.rotary_emb
        with torch.no_grad():
            states = model.model(tokens, output_hidden_states=True, use_cache=False).hidden_states[-5]
            turns = rotary(states, torch.arange(LENGTH)[None])
        mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)[None, None]

        def loss():
            x = states
            for layer in layers:
                x = layer(x, attention_mask=mask, position_embeddings=turns)
                x = x[0] if isinstance(x, tuple) else x
            logits = model.lm_head(model.model.norm(x[:, -1]))
            return torch.nn.functional.cross_entropy(logits, targets)

        run(loss, list(layers.parameters()))
    wall = min(b[0] - a[0] for a, b in zip(laps, laps[1:]))
    cpu = (laps[-1][1] - laps[0][1]) / (len(laps) - 1)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6
    print(json.dumps(dict(engine="torch", work=name, threads=threads, wall_s=wall, cpu_s=cpu,
                          tokens_per_s=made / wall, peak_mb=peak)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if arguments.only:
        return work(arguments.only, arguments.weights, arguments.threads)
    for name in KINDS:
        command = [sys.executable, __file__, "--weights", arguments.weights, "--only", name]
        subprocess.run(command + ["--threads", str(arguments.threads)], check=True)


if __name__ == "__main__":
    main()
