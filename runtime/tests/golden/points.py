"""Clouds of points: which are far from and near each other, Point-BERT at toy size, and files as the datasets have them.

    pip install h5py==3.16.0
    python points.py                # into `points/` beside this script
    python points.py --out FOLDER

The model is written from its description (paper.md §4.1) with the names of its checkpoints (A.3); its frozen block is that
of `llama_meta`. Weights are whole 64ths, which half precision holds exactly, so that the checkpoint is half as large.
"""

import argparse
import pickle
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import llm_blocks

POINTS, GROUPS, SIZE, DIM, DEPTH, HEADS, CLASSES = 96, 12, 8, 24, 2, 3, 5
BATCH, STEPS, LR, DECAY, WITHIN = 6, 3, 5e-4, 0.05, 0.35
NEAR_ORIGIN = 1e-3


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances, summed as x, y, z. a [.., 3], b [.., 3]"""
    d = a - b
    return d[..., 0] * d[..., 0] + d[..., 1] * d[..., 1] + d[..., 2] * d[..., 2]


def farthest(cloud: Tensor, count: int, near_origin: float) -> Tensor:
    """Numbers of points, [count]. cloud [N, 3]; of equally far points the first."""
    counts = squared(cloud, torch.zeros(3)).double() > near_origin
    known = torch.full((len(cloud),), float("inf"))
    taken = [0]
    while len(taken) < count:
        known = torch.minimum(known, squared(cloud, cloud[taken[-1]]))
        left = torch.where(counts, known, torch.full_like(known, -1.0))
        taken.append(int((left == left.max()).nonzero()[0]) if counts.any() else 0)
    return torch.tensor(taken)


def nearest(cloud: Tensor, centres: Tensor, count: int) -> Tensor:
    """Numbers of points, [M, count]; of equally near points the first."""
    return squared(centres[:, None], cloud[None]).sort(dim=1, stable=True).indices[:, :count]


def ball(cloud: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """The first points within the radius, the first one of them again where there are fewer."""
    rows = []
    for row in squared(centres[:, None], cloud[None]) < torch.tensor(radius * radius):
        inside = row.nonzero()[:count, 0]
        first = inside[0] if len(inside) else torch.tensor(0)
        rows.append(torch.cat([inside, first.repeat(count - len(inside))]))
    return torch.stack(rows)


def interpolated(coarse: Tensor, features: Tensor, fine: Tensor) -> Tensor:
    """The mean of the three nearest coarse points' features, weighted by one over the distance."""
    near = nearest(coarse, fine, 3)
    weights = 1.0 / ((fine[:, None] - coarse[near]).norm(dim=-1) + 1e-8)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (weights[..., None] * features[near]).sum(dim=1)


def clouds() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(700)
    random = torch.rand(3, 300, 3, generator=generator) * 2 - 1
    grid = torch.randint(-2, 3, (3, 300, 3), generator=generator) / 4  # 125 places for 300 points
    line = torch.zeros(300, 3)
    line[:, 0] = torch.linspace(-1, 1, 300)
    small = torch.rand(300, 3, generator=generator) * 0.03  # most of it nearer to the origin than the rule has it
    degenerate = torch.stack([torch.full((300, 3), 0.7), line, small])
    return {"random": random, "duplicated": grid, "degenerate": degenerate}


def sets(out: Path):
    cases = {}
    for name, batch in clouds().items():
        cases[f"{name}.points"] = batch
        far = torch.stack([farthest(cloud, 40, NEAR_ORIGIN) for cloud in batch])
        cases[f"{name}.farthest"] = far
        cases[f"{name}.farthest_of_all"] = torch.stack([farthest(cloud, 40, -1.0) for cloud in batch])
        centres = torch.stack([cloud[index[:10]] for cloud, index in zip(batch, far)])
        cases[f"{name}.centres"] = centres
        cases[f"{name}.nearest"] = torch.stack([nearest(*pair, 16) for pair in zip(batch, centres)])
        cases[f"{name}.ball"] = torch.stack([ball(*pair, WITHIN, 16) for pair in zip(batch, centres)])
    generator = torch.Generator().manual_seed(710)
    coarse, fine = torch.rand(2, 20, 3, generator=generator), torch.rand(2, 50, 3, generator=generator)
    fine[:, :5] = coarse[:, :5]  # the same place: all the weight is there
    features = torch.randn(2, 20, 7, generator=generator)
    features.requires_grad_(True)
    between = torch.stack([interpolated(*one) for one in zip(coarse, features, fine)])
    between.square().sum().backward()
    cases |= {"between.coarse": coarse, "between.fine": fine, "between.features": features, "between.output": between,
              "between.grad": features.grad}
    save_file({name: value.detach().contiguous() for name, value in cases.items()}, out / "sets.safetensors")


class Encoder(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv1d(3, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1))
        self.second_conv = nn.Sequential(nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, d, 1))

    def forward(self, near: Tensor) -> Tensor:  # [batch, groups, size, 3] -> [batch, groups, d]
        batch, groups, size, _ = near.shape
        local = self.first_conv(near.reshape(batch * groups, size, 3).transpose(1, 2))
        whole = local.max(dim=2, keepdim=True).values
        return self.second_conv(torch.cat([whole.expand(-1, -1, size), local], 1)).max(2).values.reshape(batch, groups, -1)


class Attention(nn.Module):
    def __init__(self, d: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) * (d // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, d: int, heads: int):
        super().__init__()
        self.norm1, self.norm2, self.attn = nn.LayerNorm(d), nn.LayerNorm(d), Attention(d, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(d, 4 * d), "fc2": nn.Linear(4 * d, d)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class PointBert(nn.Module):
    def __init__(self, block: nn.Module):
        super().__init__()
        self.encoder, self.reduce_dim = Encoder(256), nn.Linear(256, DIM)
        self.cls_token, self.cls_pos = nn.Parameter(torch.zeros(1, 1, DIM)), nn.Parameter(torch.randn(1, 1, DIM))
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, DIM))
        self.blocks = nn.ModuleDict({"blocks": nn.ModuleList([Block(DIM, HEADS) for _ in range(DEPTH)])})
        self.norm = nn.LayerNorm(DIM)
        self.llama_dim_mapper1 = nn.Linear(DIM, llm_blocks.DIM, bias=False)
        self.llama_dim_mapper2 = nn.Linear(llm_blocks.DIM, DIM, bias=False)
        self.cls_head_finetune = nn.Sequential(nn.Linear(2 * DIM, 256), nn.ReLU(), nn.Dropout(0.0), nn.Linear(256, CLASSES))
        self.block, self.block_norm = block, LlamaRMSNorm(llm_blocks.DIM, eps=1e-6)

    def groups(self, points: Tensor) -> tuple[Tensor, Tensor]:
        centres, near = [], []
        for cloud in points:
            centre = cloud[farthest(cloud, GROUPS, NEAR_ORIGIN)]
            near.append(cloud[nearest(cloud, centre, SIZE)] - centre[:, None])
            centres.append(centre)
        return torch.stack(near), torch.stack(centres)

    def forward(self, points: Tensor) -> Tensor:
        near, centres = self.groups(points)
        x = self.reduce_dim(self.encoder(near))
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        places = torch.cat([self.cls_pos.expand(len(x), -1, -1), self.pos_embed(centres)], 1)
        for block in self.blocks["blocks"]:
            x = block(x + places)
        x = self.llama_dim_mapper1(x)
        x = self.block_norm(self.block(x, position_embeddings=llm_blocks.unrotated(x)))
        x = self.norm(self.llama_dim_mapper2(x))
        return self.cls_head_finetune(torch.cat([x[:, 0], x[:, 1:].max(1).values], -1))


def build() -> PointBert:
    torch.manual_seed(720)
    model = PointBert(llm_blocks.rounded_to_half(llm_blocks.llama_hf()).model.layers[-1])
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.startswith("block.") or name.startswith("block_norm") or "num_batches" in name:
                continue
            if name.endswith("running_var"):
                tensor.copy_(1 + torch.rand_like(tensor))
            elif not name.endswith("running_mean"):
                tensor.add_(0.05 * torch.randn_like(tensor))
            else:
                tensor.copy_(0.2 * torch.randn_like(tensor))
            tensor.copy_((tensor * 64).round() / 64)
    model.block.requires_grad_(False)
    model.block_norm.requires_grad_(False)
    return model


def trained(model: PointBert) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_checkpoint(model: PointBert, file: Path):
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("block.")}
    del own["block_norm.weight"]
    frozen = {f"llama.layers.0.{name}": value for name, value in llm_blocks.meta_block(model.block).items()}
    state = {}
    for name, value in (own | frozen | {"llama.norm.weight": model.block_norm.weight}).items():
        half = value.detach().half() if value.is_floating_point() else value.clone()
        assert torch.equal(half.to(value.dtype), value), f"{name} is no number of half precision"
        state[f"module.{name}"] = half
    torch.save({"base_model": state, "epoch": 3}, file)


def grouped(model: PointBert) -> torch.optim.AdamW:
    """The parameter groups of the paper's code (paper.md §4.3)."""
    slow, mappers, rest = [], [], []
    for name, parameter in trained(model).items():
        if parameter.ndim == 1 or name.endswith(".bias") or "token" in name:
            slow.append(parameter)
        elif "llama" in name:
            mappers.append(parameter)
        else:
            rest.append(parameter)
    return torch.optim.AdamW([
        {"params": slow, "weight_decay": 0.0, "lr": 0.1 * LR},
        {"params": mappers, "weight_decay": 0.0, "lr": 0.5 * LR},
        {"params": rest, "weight_decay": DECAY, "lr": LR},
    ])


def steps(out: Path):
    model = build()
    save_checkpoint(model, out / "point_bert.pth")
    generator = torch.Generator().manual_seed(730)
    points = torch.rand(BATCH, POINTS, 3, generator=generator) * 2 - 1
    label = torch.arange(BATCH) % CLASSES
    model.eval()
    near, centres = model.groups(points)
    cases = {"points": points, "label": label, "centres": centres, "near": near, "logits": model(points)}
    model.train()
    optimizer, losses, norms = grouped(model), [], []
    for step in range(STEPS):
        loss = F.cross_entropy(model(points), label)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            small = {name: p for name, p in trained(model).items() if p.numel() <= 4096}
            cases |= {f"grad.{name}": parameter.grad.clone() for name, parameter in small.items()}
        norms.append(nn.utils.clip_grad_norm_(trained(model).values(), 10.0))
        optimizer.step()
        losses.append(loss.detach())
    cases |= {"losses": torch.stack(losses), "norms": torch.stack(norms)}
    for name, value in model.state_dict().items():
        # With the biases that a norm behind them takes away, of which the running means are made.
        kept = ("conv.0.bias", "first_conv.3.bias", "cls_token", "cls_pos", "llama_dim_mapper1.weight")
        if "running" in name or name.endswith(kept):
            cases[f"after.{name}"] = value
    model.eval()
    cases["logits_after_3"] = model(points)
    save_file({name: value.detach().clone().contiguous() for name, value in cases.items()}, out / "point_bert.safetensors")


def files(out: Path):
    """The same clouds in each way that HDF5 keeps them, and a cache of ModelNet in each protocol of pickle; some that are wrong."""
    rng = np.random.default_rng(740)
    clouds = rng.uniform(-1, 1, (6, 64, 3)).astype(np.float32)
    labels = np.array([4, 0, 14, 7, 7, 2])
    masks = rng.integers(-1, 2, (6, 64))
    ways = {
        "plain": dict(label=labels.astype(np.int64)),
        "gzip": dict(label=labels.astype(np.uint8), chunks=(4, 32, 3), compression="gzip"),
        "shuffled": dict(label=labels.astype(np.int32), chunks=(2, 64, 3), compression="gzip", shuffle=True, fletcher32=True),
        "latest": dict(label=labels.astype(np.int64), libver="latest", chunks=(1, 64, 3), compression="gzip"),
        "wide": dict(label=labels.astype(">i4"), data=clouds.astype(np.float64)),
        "lzf": dict(label=labels.astype(np.int64), data=np.ones_like(clouds), chunks=(6, 64, 3), compression="lzf"),
        "turned": dict(label=labels.astype(np.int64), data=clouds.transpose(0, 2, 1)),
    }
    for name, way in ways.items():
        with h5py.File(out / f"scanned_{name}.h5", "w", libver=way.pop("libver", "earliest")) as file:
            file.create_dataset("label", data=way.pop("label"))
            file.create_dataset("data", data=way.pop("data", clouds), **way)
            file.create_dataset("mask", data=masks)
    modelnet = [rng.uniform(-1, 1, (40, 6)).astype(np.float32) for _ in range(4)]
    classes = [1, 0, 1, 2]
    for protocol in (2, 3, 4, 5):
        with open(out / f"cache_{protocol}.dat", "wb") as file:
            pickle.dump([modelnet, [np.array([label]).astype(np.int32) for label in classes]], file, protocol=protocol)
    with open(out / "cache_halves.dat", "wb") as file:
        pickle.dump([modelnet, [np.array([label]) for label in (1.0, 0.0, 1.7, 2.0)]], file, protocol=4)
    unit = []
    for cloud in modelnet:
        cloud = cloud[:, :3].astype(np.float64)
        cloud = cloud - cloud.mean(0)
        unit.append((cloud / np.linalg.norm(cloud, axis=1).max()).astype(np.float32))
    cases = {"clouds": clouds, "labels": labels.astype(np.float32), "unit": np.stack(unit),
             "classes": np.array(classes, np.float32)}
    save_file({name: torch.from_numpy(value) for name, value in cases.items()}, out / "files.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "points", help="the folder to write into")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    sets(out)
    steps(out)
    files(out)


if __name__ == "__main__":
    main()
