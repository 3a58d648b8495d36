"""FGSM and PGD on the image classifier of `vit_llama.py` (paper.md §3.4), in pixels from 0 to 1, before normalisation by
ImageNet's mean and deviation. Some pixels are black or white, so that both bounds are met. PGD begins at the noise that is
written down.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

import vit_llama

EPS, STEP, STEPS = 1 / 255, 0.5 / 255, 5
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def gradient(net, pixels, label):
    at = pixels.detach().clone().requires_grad_(True)
    loss = F.cross_entropy(net((at - MEAN) / STD), label)
    return torch.autograd.grad(loss, at)[0]


def write(folder: Path, llm: LlamaForCausalLM):
    net = vit_llama.build(llm).eval()
    generator = torch.Generator().manual_seed(310)
    size = (4, 3, vit_llama.IMAGE, vit_llama.IMAGE)
    pixels = (torch.rand(size, generator=generator) * 1.2 - 0.1).clamp(0, 1)
    label = torch.randint(vit_llama.CLASSES, (4,), generator=generator)
    noise = (torch.rand(size, generator=generator) * 2 - 1) * EPS
    grad = gradient(net, pixels, label)
    fgsm = (pixels + EPS * grad.sign()).clamp(0, 1)
    pgd = (pixels + noise).clamp(0, 1)
    for _ in range(STEPS):
        moved = pgd + STEP * gradient(net, pgd, label).sign()
        pgd = (pixels + (moved - pixels).clamp(-EPS, EPS)).clamp(0, 1)
    cases = {"pixels": pixels, "label": label, "noise": noise, "gradient": grad, "fgsm": fgsm, "pgd": pgd,
             "fgsm_logits": net((fgsm - MEAN) / STD), "pgd_logits": net((pgd - MEAN) / STD)}
    save_file({name: value.detach().contiguous() for name, value in cases.items()}, folder / "attacks.safetensors")
