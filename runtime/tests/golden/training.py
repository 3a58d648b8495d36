"""A whole run: the classifier of `vit_llama/`, its frozen block inside, trained from `vit_llama/checkpoint.pth` on five
images for five epochs of one step, with everything that a recipe does to the numbers and nothing that it draws.

AdamW in two groups: no decay on tensors of rank 1, the positions and the class token (paper.md §3.3). Label smoothing,
clipping, and timm's average of the weights. All images make one batch, so no order matters.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.utils import ModelEmaV2
from torch import Tensor
from transformers import LlamaForCausalLM

import vit_llama

EPOCHS, SMOOTHING, CLIP, AVERAGE = 5, 0.1, 1.0, 0.9
# An eps far above rounding: the biases of keys have no gradient but noise, and Adam would scale that up to whole steps.
LR, DECAY, EPS = 1e-2, 0.5, 1e-3
UNDECAYED = ("pos_embed", "cls_token")
# ImageNet's, as the paper normalises (paper.md §3.3).
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
# Whose averages are kept; the sum is the same for all.
AVERAGED = ("cls_token", "norm.bias", "head.weight")
# What tests allow between their parameters and these.
TOLERANCE = 2e-5


def run(llm: LlamaForCausalLM, pixels: Tensor, undecayed: tuple[str, ...], rank_one_decays=False) -> dict[str, Tensor]:
    """Losses and norms [EPOCHS] of training, losses of evaluation after each step, and the parameters after the last."""
    model = vit_llama.build(llm)
    images = ((pixels.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
    labels = torch.arange(len(images))
    parameters = vit_llama.trained(model)
    rank_one = {name for name, parameter in parameters.items() if parameter.ndim == 1 and not rank_one_decays}
    bare = rank_one.union(undecayed)
    optimizer = torch.optim.AdamW([
        {"params": [p for name, p in parameters.items() if name not in bare], "weight_decay": DECAY},
        {"params": [p for name, p in parameters.items() if name in bare], "weight_decay": 0.0},
    ], lr=LR, eps=EPS)
    average = ModelEmaV2(model, decay=AVERAGE)
    losses, evaluated, norms = [], [], []
    for _ in range(EPOCHS):
        loss = F.cross_entropy(model(images), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP))
        optimizer.step()
        average.update(model)
        losses.append(loss.detach())
        with torch.no_grad():
            evaluated.append(F.cross_entropy(model(images), labels))
    averages = dict(average.module.named_parameters())
    return {"losses": torch.stack(losses), "evaluated": torch.stack(evaluated), "norms": torch.stack(norms)} \
        | {f"after.{name}": parameter.detach().clone() for name, parameter in parameters.items()} \
        | {f"average.{name}": averages[name].detach().clone() for name in AVERAGED}


def images() -> Tensor:
    """One of each class, [5, 16, 16, 3]."""
    generator = torch.Generator().manual_seed(500)
    size = (vit_llama.CLASSES, vit_llama.IMAGE, vit_llama.IMAGE, 3)
    return torch.randint(256, size, generator=generator, dtype=torch.uint8)


def write(out: Path, llm: LlamaForCausalLM):
    pixels = images()
    cases = run(llm, pixels, UNDECAYED)
    assert cases["norms"].max() > CLIP, "the limit must be reached"
    # Every part of what a test is to find must move some number by far more than the test allows.
    others = {name: run(llm, pixels, tuple(kept for kept in UNDECAYED if kept != name)) for name in UNDECAYED}
    others |= {name: run(llm, pixels, UNDECAYED, rank_one_decays=True) for name in ("norm.weight", "blocks.0.mlp.fc1.bias")}
    for name, other in others.items():
        off = (other[f"after.{name}"] - cases[f"after.{name}"]).abs().max()
        assert off > 10 * TOLERANCE, f"decay on {name} changes it by {off} only"
    save_file({"pixels": pixels.float()} | {name: t.contiguous() for name, t in cases.items()}, out / "training.safetensors")
