"""What training is made of besides the model: schedules, losses, mixing, weight averaging, clipping and AdamW.

Each case is a function that returns its parameters, which go into `recipes.json` under the case's name, and its tensors,
which go into `recipes.safetensors` as `CASE.TENSOR`. Learning rates are f64, everything else is f32 unless it counts.
"""

import json
import math
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.data.mixup import cutmix_bbox_and_lam, mixup_target
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV2
from torch import Tensor, nn

Case = tuple[dict, dict[str, Tensor]]


def cosine() -> Case:
    """paper.md §3.3: timm's schedule, not shifted by its warmup, stepped after each epoch with that epoch's index."""
    params = {"epochs": 300, "base_lr": 1e-3, "lr_min": 1e-5, "warmup_t": 20, "warmup_lr_init": 1e-6}
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=params["base_lr"])
    schedule = CosineLRScheduler(optimizer, t_initial=params["epochs"], lr_min=params["lr_min"],
                                 warmup_t=params["warmup_t"], warmup_lr_init=params["warmup_lr_init"])
    lr = []
    for epoch in range(params["epochs"]):
        lr.append(optimizer.param_groups[0]["lr"])
        schedule.step(epoch)
    assert lr[0] == lr[1] == 1e-6
    assert math.isclose(lr[101], 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * 100 / 300)))
    return params, {"lr": torch.tensor(lr, dtype=torch.float64)}


def one_cycle() -> Case:
    """torch's defaults, which move AdamW's first beta against the learning rate."""
    params = {"max_lr": 1e-3, "total_steps": 100, "pct_start": 0.3, "anneal_strategy": "cos", "div_factor": 25.0,
              "final_div_factor": 1e4, "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95}
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, **params)
    lr, beta1 = [], []
    for step in range(params["total_steps"]):
        lr.append(optimizer.param_groups[0]["lr"])
        beta1.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        if step + 1 < params["total_steps"]:
            schedule.step()
    return params, {"lr": torch.tensor(lr, dtype=torch.float64), "beta1": torch.tensor(beta1, dtype=torch.float64)}


def logits_and_labels() -> tuple[Tensor, Tensor]:
    """Logits [6, 5] that are far from flat, and labels of which the first and the last differ."""
    logits = 2.0 * torch.randn(6, 5, generator=torch.Generator().manual_seed(300))
    return logits.requires_grad_(), torch.tensor([0, 3, 4, 1, 2, 3])


def smoothing_cross_entropy() -> Case:
    logits, labels = logits_and_labels()
    loss = LabelSmoothingCrossEntropy(smoothing=0.1)(logits, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels, label_smoothing=0.1))
    loss.backward()
    return {"smoothing": 0.1}, {"logits": logits, "labels": labels, "loss": loss, "grad": logits.grad}


def mixup_cross_entropy() -> Case:
    """paper.md §3.2: each image's partner is the one opposite it in the batch."""
    logits, labels = logits_and_labels()
    targets = mixup_target(labels, num_classes=5, lam=0.3, smoothing=0.1)
    loss = SoftTargetCrossEntropy()(logits, targets)
    loss.backward()
    tensors = {"logits": logits, "labels": labels, "targets": targets, "loss": loss, "grad": logits.grad}
    return {"lambda": 0.3, "smoothing": 0.1, "partner": "reversed batch"}, tensors


def box_of_timm_0_4(height: int, width: int, lam: float, y: int, x: int) -> list[int]:
    """The box of timm 0.4.12, the paper's version (paper.md §0.3): an odd side loses a pixel, which newer ones keep."""
    ratio = np.sqrt(1 - lam)
    half_h, half_w = int(height * ratio) // 2, int(width * ratio) // 2
    return [max(y - half_h, 0), min(y + half_h, height), max(x - half_w, 0), min(x + half_w, width)]


def cutmix_box() -> Case:
    """Boxes [y from, y to, x from, x to) for given centres, and the share of the image that they leave."""
    given = [  # height, width, λ, y, x
        (32, 32, 0.75, 16, 16), (32, 32, 0.5, 16, 16), (32, 32, 0.3, 2, 30), (32, 32, 0.999, 10, 10), (32, 32, 0.0, 0, 0),
        (224, 224, 0.6, 100, 50), (224, 224, 0.11, 223, 0), (16, 24, 0.4, 8, 20), (16, 24, 1.0, 5, 5),
    ]
    boxes, boxes_0_4, lams, lams_0_4 = [], [], [], []
    for height, width, lam, y, x in given:
        with mock.patch("numpy.random.randint", side_effect=[y, x]):  # timm draws y, then x
            box, corrected = cutmix_bbox_and_lam((3, height, width), lam)
        boxes.append([int(edge) for edge in box])
        lams.append(float(corrected))
        old = box_of_timm_0_4(height, width, lam, y, x)
        boxes_0_4.append(old)
        lams_0_4.append(1.0 - (old[1] - old[0]) * (old[3] - old[2]) / (height * width))
    image_and_centre = [[height, width, y, x] for height, width, _, y, x in given]
    return {"columns of image_and_centre": ["height", "width", "y", "x"], "columns of box": ["y0", "y1", "x0", "x1"]}, {
        "image_and_centre": torch.tensor(image_and_centre),
        "lambda": torch.tensor([row[2] for row in given], dtype=torch.float64),
        "box": torch.tensor(boxes), "corrected_lambda": torch.tensor(lams, dtype=torch.float64),
        "box_0_4": torch.tensor(boxes_0_4), "corrected_lambda_0_4": torch.tensor(lams_0_4, dtype=torch.float64),
    }


def moving_average() -> Case:
    """`values` [6, 8] are a weight at the start and after five steps, `average_*` [5, 8] the averages after each step."""
    decays = (0.9, 0.99996)
    values = torch.randn(6, 8, generator=torch.Generator().manual_seed(310))
    tensors = {"values": values}
    for decay in decays:
        model = nn.ParameterList([values[0].clone()])
        average, trace = ModelEmaV2(model, decay=decay), []
        for value in values[1:]:
            with torch.no_grad():
                model[0].copy_(value)
            average.update(model)
            trace.append(average.module[0].detach().clone())
        tensors[f"average_{decay}"] = torch.stack(trace)
    return {"decays": decays}, tensors


def clip_by_norm() -> Case:
    """One bound below the joint norm of both gradients, one above it."""
    generator = torch.Generator().manual_seed(320)
    grads = {"a": torch.randn(3, 4, generator=generator), "b": torch.randn(5, generator=generator)}
    bounds, tensors = (1.0, 100.0), {f"grad.{name}": grad for name, grad in grads.items()}
    for bound in bounds:
        parameters = {name: nn.Parameter(torch.zeros_like(grad)) for name, grad in grads.items()}
        for name, parameter in parameters.items():
            parameter.grad = grads[name].clone()
        tensors["norm"] = nn.utils.clip_grad_norm_(parameters.values(), bound)
        tensors |= {f"clipped_{bound:g}.{name}": parameter.grad for name, parameter in parameters.items()}
    return {"bounds": bounds}, tensors


def adamw() -> Case:
    """`start` [3, 4], the gradients of six steps [6, 3, 4], and the tensor after each step with and without decay."""
    params = {"lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8, "decays": [0.0, 0.05]}
    generator = torch.Generator().manual_seed(330)
    start, grads = torch.randn(3, 4, generator=generator), torch.randn(6, 3, 4, generator=generator)
    tensors = {"start": start, "grads": grads}
    for decay in params["decays"]:
        parameter, trace = nn.Parameter(start.clone()), []
        optimizer = torch.optim.AdamW([parameter], lr=params["lr"], betas=params["betas"], eps=params["eps"],
                                      weight_decay=decay)
        for grad in grads:
            parameter.grad = grad.clone()
            optimizer.step()
            trace.append(parameter.detach().clone())
        tensors[f"after_decay_{decay:g}"] = torch.stack(trace)
    return params, tensors


CASES = (cosine, one_cycle, smoothing_cross_entropy, mixup_cross_entropy, cutmix_box, moving_average, clip_by_norm, adamw)


def write(out: Path):
    params, tensors = {}, {}
    for case in CASES:
        name = case.__name__
        params[name], values = case()
        tensors |= {f"{name}.{tensor}": value.detach().contiguous() for tensor, value in values.items()}
    save_file(tensors, out / "recipes.safetensors")
    (out / "recipes.json").write_text(json.dumps(params, indent=1) + "\n")
