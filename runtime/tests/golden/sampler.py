"""Writes sampler.json: the order of timm's repeated augmentation on one process, beside the permutation it was made of.
Run by hand.

    pip install timm==1.0.31 torch
    python runtime/tests/golden/sampler.py
"""

import json
from pathlib import Path

import torch
from timm.data.distributed_sampler import RepeatAugSampler

CASES = [(256, 3, 0), (300, 3, 1), (700, 3, 2), (515, 2, 3), (270, 1, 4)]


def case(samples: int, repeats: int, epoch: int) -> dict:
    sampler = RepeatAugSampler(range(samples), num_replicas=1, rank=0, shuffle=True, num_repeats=repeats)
    sampler.set_epoch(epoch)
    generator = torch.Generator()
    generator.manual_seed(epoch)
    permutation = torch.randperm(samples, generator=generator).tolist()
    return {"repeats": repeats, "permutation": permutation, "order": list(sampler)}


OUT = Path(__file__).with_name("sampler.json")
OUT.write_text("[\n" + ",\n".join(json.dumps(case(*numbers)) for numbers in CASES) + "\n]\n")
