"""ViT-S/16, alone or with a LLaMA-7B block inside, in PyTorch: the time of an inference and of a step of training.

    python steps.py --model vit_s_llama --batch 8 --what train --way eager --frozen f32

The same work as `lmvc bench` does on vit_s.lmv and vit_s_llama.lmv beside this file: images of 224 x 224 drawn at random,
1000 classes, drop-path up to 0.1, cross entropy, AdamW without clipping and without an average, random weights. Prints one line of JSON:
seconds of each repeat after the warm-up, and the peak of memory since the warm-up began.
"""

import argparse
import ctypes
import json
import time

import torch
import torch.nn.functional as F
from torch import nn


class DropPath(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if self.p == 0.0 or not self.training:
            return x
        keep = 1.0 - self.p
        mask = x.new_empty((x.shape[0], 1, 1)).bernoulli_(keep).div_(keep)
        return x * mask


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, d, heads, drop_path):
        super().__init__()
        self.norm1 = nn.LayerNorm(d, eps=1e-6)
        self.attn = Attention(d, heads)
        self.norm2 = nn.LayerNorm(d, eps=1e-6)
        self.fc1 = nn.Linear(d, 4 * d)
        self.fc2 = nn.Linear(4 * d, d)
        self.drop = DropPath(drop_path)

    def forward(self, x):
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.norm2(x)))))


class LlamaBlock(nn.Module):
    """Without rotary positions and causal mask, as the paper runs it."""

    def __init__(self, d=4096, heads=32, hidden=11008, eps=1e-6):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.RMSNorm(d, eps=eps)
        self.norm2 = nn.RMSNorm(d, eps=eps)
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.w1 = nn.Linear(d, hidden, bias=False)
        self.w3 = nn.Linear(d, hidden, bias=False)
        self.w2 = nn.Linear(hidden, d, bias=False)

    def forward(self, x):
        # A block in another type computes in it.
        given = x.dtype
        x = x.to(self.wq.weight.dtype)
        y = self.norm1(x)
        q, k, v = (w(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        x = x + self.wo(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return (x + self.w2(F.silu(self.w1(y)) * self.w3(y))).to(given)


class Model(nn.Module):
    def __init__(self, block, d=384, heads=6, depth=12, classes=1000):
        super().__init__()
        self.patches = nn.Conv2d(3, d, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, d))
        self.position = nn.Parameter(torch.randn(1, 197, d) * 0.02)
        self.blocks = nn.Sequential(*(Block(d, heads, 0.1 * i / (depth - 1)) for i in range(depth)))
        self.middle = nn.Identity()
        if block is not None:
            up, down = nn.Linear(d, 4096, bias=False), nn.Linear(4096, d, bias=False)
            self.middle = nn.Sequential(up, block, nn.RMSNorm(4096, eps=1e-6, elementwise_affine=False), down)
        self.norm = nn.LayerNorm(d, eps=1e-6)
        self.fc = nn.Linear(d, classes)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = self.middle(self.blocks(x))
        return self.fc(self.norm(x)[:, 0])


def groups(model):
    """As the recipe of the spec: no decay for vectors, positions and the class token."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = lambda name, p: p.ndim == 1 or name in ("token", "position")
    return [
        {"params": [p for name, p in trained if not plain(name, p)], "weight_decay": 0.05},
        {"params": [p for name, p in trained if plain(name, p)], "weight_decay": 0.0},
    ]


def forget_peak():
    """Gives free memory back to the kernel, and lets it count the peak from here on."""
    ctypes.CDLL(None).malloc_trim(0)
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["vit_s", "vit_s_llama"], required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--what", choices=["forward", "train"], required=True)
    parser.add_argument("--way", choices=["eager", "compile"], default="eager")
    parser.add_argument("--frozen", choices=["f32", "bf16"], default="f32", help="the type of the frozen block")
    parser.add_argument("--autocast", action="store_true", help="all products in bf16, by autocast")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    block = LlamaBlock() if args.model == "vit_s_llama" else None
    if block is not None:
        block.requires_grad_(False)
        if args.frozen == "bf16":
            block.to(torch.bfloat16)
    model = Model(block)
    images, labels = torch.randn(args.batch, 3, 224, 224), torch.randint(1000, (args.batch,))
    run = torch.compile(model) if args.way == "compile" else model
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=args.autocast)

    if args.what == "forward":
        model.eval()

        def work():
            with torch.inference_mode(), autocast:
                return run(images).sum().item()
    else:
        model.train()
        optimizer = torch.optim.AdamW(groups(model), lr=1e-3, fused=True)

        def work():
            with autocast:
                loss = F.cross_entropy(run(images).float(), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return loss.item()

    began = time.perf_counter()
    forget_peak()
    work()
    first = time.perf_counter() - began
    work()
    forget_peak()
    seconds = []
    for _ in range(args.repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "first": first, "peak_bytes": peak(), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
