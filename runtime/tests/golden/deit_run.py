"""Ten steps under the paper's whole recipe with all that it draws turned off: the classifier of `vit_llama/`, from its
checkpoint, on the pixels of `training.py`, in ten epochs of one step (paper.md §3.3).

timm's cosine by the epoch with three epochs of warm-up, AdamW in two groups at torch's own eps, smoothing 0.1, timm's average
of the weights at 0.99996. No crop, flip, RandAugment, erasing, mix or drop-path.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.loss import LabelSmoothingCrossEntropy
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV2
from torch import Tensor
from transformers import LlamaForCausalLM

import vit_llama
from training import MEAN, STD, UNDECAYED

EPOCHS, WARMUP, LR, FROM, TO, DECAY, SMOOTHING, AVERAGE = 10, 3, 1e-3, 1e-6, 1e-5, 0.05, 0.1, 0.99996


def write(out: Path, llm: LlamaForCausalLM, pixels: Tensor):
    model = vit_llama.build(llm)
    images = ((pixels.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
    labels = torch.arange(len(images))
    parameters = vit_llama.trained(model)
    bare = {name for name, parameter in parameters.items() if parameter.ndim == 1 or name in UNDECAYED}
    optimizer = torch.optim.AdamW([
        {"params": [p for name, p in parameters.items() if name not in bare], "weight_decay": DECAY},
        {"params": [p for name, p in parameters.items() if name in bare], "weight_decay": 0.0},
    ], lr=LR)
    schedule = CosineLRScheduler(optimizer, t_initial=EPOCHS, lr_min=TO, warmup_t=WARMUP, warmup_lr_init=FROM)
    average, criterion = ModelEmaV2(model, decay=AVERAGE), LabelSmoothingCrossEntropy(SMOOTHING)
    losses, rates = [], []
    for epoch in range(EPOCHS):
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        average.update(model)
        schedule.step(epoch)
        losses.append(loss.detach())
    moved = dict(model.named_parameters())["head.weight"] - dict(average.module.named_parameters())["head.weight"]
    assert moved.abs().max() > 1e-3, "the average must be another one than the weights"
    save_file({
        "losses": torch.stack(losses),
        "lr": torch.tensor(rates, dtype=torch.float64),
        "average.head.weight": dict(average.module.named_parameters())["head.weight"].detach().clone(),
    }, out / "deit_run.safetensors")
