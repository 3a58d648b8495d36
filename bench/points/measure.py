"""Farthest-point sampling and grouping by lmv and by PyTorch on the CPU, in turn, on the same clouds.

    python measure.py --lmv PATH/TO/grouping

PyTorch samples all clouds of the batch together, and groups by the distances that Point-BERT's code reckons and `topk`. What
both find is compared: the samples index for index, the groups by the distances of what is in them.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def farthest(points: torch.Tensor, count: int) -> torch.Tensor:
    """[batch, N, 3] -> [batch, count]; all points count, but for those near the origin (squared distance up to 1e-3)."""
    batch, n, _ = points.shape
    x, y, z = points.unbind(-1)
    near = x * x + y * y + z * z <= 1e-3
    known = torch.full((batch, n), float("inf"))
    taken = torch.zeros(batch, count, dtype=torch.long)
    last = torch.zeros(batch, dtype=torch.long)
    rows = torch.arange(batch)
    for step in range(count):
        taken[:, step] = last
        a, b, c = (plane[rows, last][:, None] for plane in (x, y, z))
        dx, dy, dz = x - a, y - b, z - c
        torch.minimum(known, dx * dx + dy * dy + dz * dz, out=known)
        last = known.masked_fill(near, -1.0).max(-1).indices
    return taken


def grouped(points: torch.Tensor, centres: torch.Tensor, size: int) -> torch.Tensor:
    """|a|² + |b|² - 2ab and the smallest of it. [batch, N, 3], [batch, M, 3] -> [batch, M, size]"""
    distances = -2 * centres @ points.transpose(1, 2)
    distances += centres.square().sum(-1)[..., None]
    distances += points.square().sum(-1)[:, None]
    return distances.topk(size, dim=-1, largest=False, sorted=False).indices


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lmv", required=True)
    parser.add_argument("--clouds", type=int, default=32)
    parser.add_argument("--points", type=int, default=8192)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.manual_seed(0)
    points = torch.randn(given.clouds, given.points, 3)
    points /= points.norm(dim=-1, keepdim=True).amax(1, keepdim=True)
    seen = {"sampling": ([], []), "grouping": ([], [])}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        source, target = Path(folder) / "in.safetensors", Path(folder) / "out.safetensors"
        save_file({"points": points}, source)
        for _ in range(given.rounds):
            command = [given.lmv, source, target, str(given.count), str(given.size)]
            ours = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            begun = time.perf_counter()
            taken = farthest(points, given.count)
            sampled = time.perf_counter()
            centres = points.gather(1, taken[..., None].expand(-1, -1, 3))
            begun_grouping = time.perf_counter()
            near = grouped(points, centres, given.size)
            ended = time.perf_counter()
            for name, mine, theirs in zip(seen, map(float, ours), (sampled - begun, ended - begun_grouping)):
                seen[name][0].append(mine)
                seen[name][1].append(theirs)
        found = load_file(target)
        assert torch.equal(found["taken"].long(), taken), "the same points in the same order"
        def far(near):
            rows = torch.arange(given.clouds)[:, None, None]
            return (points[rows, near.long()] - centres[:, :, None]).norm(dim=-1).sort(-1).values

        off = (far(found["near"]) - far(near)).abs().max().item()
        print(f"the same points are sampled; distances in the groups differ by at most {off:.1e}")
    for name, (mine, theirs) in seen.items():
        ratios = [b / a for a, b in zip(mine, theirs)]
        print(f"{name}: lmv {statistics.median(mine):.3f} s, PyTorch {statistics.median(theirs):.3f} s; "
              f"{statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})")


main()
