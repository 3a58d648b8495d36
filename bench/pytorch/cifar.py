"""The PyTorch side of the CIFAR-10 comparison: a small vision transformer, alone or with a language model's block inside.

    python cifar.py --data ROOT --middle none
    python cifar.py --data ROOT --middle block --llm LLAMA_FOLDER --seed 1 --json block-1.json

ROOT holds `train.tar` and `val.tar`, with images as `train/<class>/<file>`. Every image is decoded once, into memory.
"""

import argparse
import io
import json
import tarfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

IMAGE, PATCH, CLASSES = 32, 4, 10
WIDTH, DEPTH, HEADS, MLP_RATIO = 96, 4, 3, 4
LLM_WIDTH, LLM_BLOCK, LLM_EPS = 64, 4, 1e-5
EPOCHS, BATCH, LR, DECAY = 10, 128, 1e-3, 0.05
# ImageNet's, as the paper normalises (paper.md §3.3).
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


# ---- data ----


def load(tar: Path, classes: list[str] | None = None) -> tuple[Tensor, Tensor, list[str]]:
    """Normalised images [count, 3, 32, 32], labels [count], and the sorted class names."""
    images, names = [], []
    with tarfile.open(tar) as archive:
        for member in sorted((m for m in archive if m.isfile()), key=lambda m: m.name):
            image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
            images.append(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(IMAGE, IMAGE, 3))
            names.append(member.name.split("/")[-2])
    classes = classes or sorted(set(names))
    pixels = torch.stack(images).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    return pixels.contiguous(), torch.tensor([classes.index(name) for name in names]), classes


def flip_half(images: Tensor) -> Tensor:
    flipped = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(flipped, images.flip(-1), images)


# ---- model ----


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, WIDTH))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(WIDTH, eps=1e-6), Attention()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, MLP_RATIO * WIDTH), nn.GELU(), nn.Linear(MLP_RATIO * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class LlmBlock(nn.Module):
    """A frozen decoder layer that sees all tokens and knows no positions: cos = 1, sin = 0, no mask."""

    def __init__(self, layer: LlamaDecoderLayer):
        super().__init__()
        self.layer = layer.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.layer.self_attn.head_dim)
        # Masks nothing, but its presence keeps the layer from taking its own causal path.
        all_visible = x.new_zeros(1, 1, x.shape[1], x.shape[1])
        return self.layer(x, attention_mask=all_visible, position_embeddings=(x.new_ones(shape), x.new_zeros(shape)))


class Vit(nn.Module):
    def __init__(self, llm_layer: LlamaDecoderLayer | None, mappers: bool):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (IMAGE // PATCH) ** 2, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.mapper1 = nn.Linear(WIDTH, LLM_WIDTH, bias=False) if mappers else None
        self.mapper2 = nn.Linear(LLM_WIDTH, WIDTH, bias=False) if mappers else None
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.init_weights()
        self.llm = LlmBlock(llm_layer) if llm_layer else nn.Identity()

    def init_weights(self):
        """As specs/cifar10 has it: torch's own weights with zero biases for linears, timm's normals for the tokens."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embed(images).flatten(2).transpose(1, 2)  # [batch, 64, 96]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed  # [batch, 65, 96]
        x = self.blocks(x)
        if self.mapper1 is not None:
            x = self.llm(self.mapper1(x))  # [batch, 65, 64]
            x = self.mapper2(F.rms_norm(x, (LLM_WIDTH,), eps=LLM_EPS))
        return self.head(self.norm(x)[:, 0])


def llm_layer(middle: str, folder: Path | None) -> LlamaDecoderLayer | None:
    """Block 4 of the language model in `folder`, or one of its shape as Hugging Face initialises it."""
    if middle == "block":
        return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).model.layers[LLM_BLOCK]
    if middle == "random":
        return LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).model.layers[LLM_BLOCK]
    return None


# ---- training ----


def optimizer_for(model: Vit) -> torch.optim.AdamW:
    """No decay on tensors of rank 1, the positions and the class token (paper.md §3.3)."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    bare = {name for name, p in trained.items() if p.ndim == 1 or name in ("pos_embed", "cls_token")}
    return torch.optim.AdamW([
        {"params": [p for name, p in trained.items() if name not in bare], "weight_decay": DECAY},
        {"params": [p for name, p in trained.items() if name in bare], "weight_decay": 0.0},
    ], lr=LR)


@torch.no_grad()
def top1(model: Vit, images: Tensor, labels: Tensor) -> float:
    """Percent."""
    model.eval()
    right = sum((model(x).argmax(-1) == y).sum().item() for x, y in zip(images.split(BATCH), labels.split(BATCH)))
    return 100.0 * right / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--middle", choices=("none", "mappers", "block", "random"), default="none")
    parser.add_argument("--llm", type=Path, metavar="DIR", help="a Hugging Face llama folder, for block and random")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    args = parser.parse_args()
    if args.middle in ("block", "random") and args.llm is None:
        parser.error(f"--middle {args.middle} needs --llm")
    torch.set_num_threads(args.threads)

    images, labels, classes = load(args.data / "train.tar")
    val_images, val_labels, _ = load(args.data / "val.tar", classes)
    torch.manual_seed(args.seed)
    model = Vit(llm_layer(args.middle, args.llm), mappers=args.middle != "none")
    optimizer = optimizer_for(model)
    steps = len(images) // BATCH  # the last, smaller batch is left out
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=args.epochs * steps, cycle_momentum=False)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{args.middle}: {len(images)} + {len(val_images)} images, {parameters} trained parameters", flush=True)

    epochs = []
    for epoch in range(args.epochs):
        model.train()
        start, total = time.perf_counter(), 0.0
        for batch in torch.randperm(len(images))[: steps * BATCH].split(BATCH):
            loss = F.cross_entropy(model(flip_half(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        seconds = time.perf_counter() - start
        epochs.append({"loss": total / len(images), "top1": top1(model, val_images, val_labels), "seconds": seconds})
        print("epoch {:2}  loss {loss:.4f}  top1 {top1:5.2f} %  {seconds:.1f} s".format(epoch, **epochs[-1]), flush=True)
    if args.json:
        result = {"middle": args.middle, "seed": args.seed, "threads": args.threads, "torch": torch.__version__,
                  "trained_parameters": parameters, "epochs": epochs}
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
