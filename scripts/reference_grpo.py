#!/usr/bin/env python3
"""Independent reference for the loss of GRPO in crates/aar-lab, with torch's autograd.

Writes crates/aar-lab/tests/fixtures/grpo.json. The formulas are those of Shao et al. 2024 as verl has them: advantages with
the standard deviation of n - 1, mean over tokens, clipping at 0.2, Schulman's k3 cut to 10.

    python3 scripts/reference_grpo.py
"""
import json
import pathlib

import torch

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/aar-lab/tests/fixtures/grpo.json"
GROUPS, SAMPLES, VOCABULARY, KL, CLIP = 2, 4, 7, 0.02, 0.2
torch.manual_seed(20261201)
torch.set_default_dtype(torch.float64)


def main():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    spread = rewards.std(dim=1, keepdim=True, unbiased=True)
    advantages = ((rewards - rewards.mean(dim=1, keepdim=True)) / (spread + 1e-6)).flatten()
    lengths = [3, 1, 4, 2, 5, 2, 1, 3]
    logits, tokens, drawn, reference = [], [], [], []
    for length in lengths:
        row = (2 * torch.randn(length, VOCABULARY)).float().double().requires_grad_()
        said = torch.randint(0, VOCABULARY, (length,))
        here = torch.log_softmax(row, dim=1).gather(1, said[:, None])[:, 0].detach()
        logits.append(row)
        tokens.append(said)
        # Far enough that some ratios are clipped, on either side.
        drawn.append((here + 0.3 * torch.randn(length)).float().double())
        reference.append((here + torch.randn(length)).float().double())
    # One where the estimate is cut.
    reference[4][2] += 6.0
    total, kl, clipped = 0.0, 0.0, 0
    for i, row in enumerate(logits):
        here = torch.log_softmax(row, dim=1).gather(1, tokens[i][:, None])[:, 0]
        ratio = torch.exp(here - drawn[i])
        plain = ratio * advantages[i]
        bounded = ratio.clamp(1 - CLIP, 1 + CLIP) * advantages[i]
        apart = (reference[i] - here).clamp(-20, 20)
        k3 = (apart.exp() - apart - 1).clamp(max=10)
        total = total + (KL * k3 - torch.minimum(plain, bounded)).sum()
        kl += k3.sum().item()
        clipped += (bounded < plain).sum().item()
    count = sum(lengths)
    loss = total / count
    loss.backward()
    value = {
        "samples": SAMPLES,
        "vocabulary": VOCABULARY,
        "kl_weight": KL,
        "rewards": rewards.flatten().tolist(),
        "advantages": advantages.tolist(),
        "tokens": [t.tolist() for t in tokens],
        "drawn": [d.tolist() for d in drawn],
        "reference": [r.tolist() for r in reference],
        "logits": [row.tolist() for row in logits],
        "loss": loss.item(),
        "kl": kl / count,
        "clipped": clipped,
        "gradients": [row.grad.tolist() for row in logits],
    }
    OUT.write_text(json.dumps(value) + "\n")
    print(f"loss {loss.item():.6f}, kl {kl / count:.4f}, {clipped} of {count} words clipped")


main()
