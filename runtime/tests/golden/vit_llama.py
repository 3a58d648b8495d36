"""The image classifier of the paper at toy size: timm's vision transformer with a frozen Meta block before its last norm.

    tokens after the blocks -> mapper 1 -> block -> RMS norm of ones -> mapper 2 -> norm -> head on token 0

(paper.md §3.1). The checkpoint has the reference's names (paper.md A.1), the frozen block's among them.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import llm_blocks

IMAGE, PATCH, DIM, DEPTH, HEADS, CLASSES = 16, 8, 24, 2, 3, 5
BATCH, STEPS, LR, DECAY = 4, 5, 1e-3, 0.05


class VitLlama(VisionTransformer):
    def __init__(self, block: nn.Module):
        super().__init__(img_size=IMAGE, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS,
                         num_classes=CLASSES, drop_path_rate=0.0)
        self.llama_dim_mapper1 = nn.Linear(DIM, llm_blocks.DIM, bias=False)
        self.llama_dim_mapper2 = nn.Linear(llm_blocks.DIM, DIM, bias=False)
        self.block = block
        self.block_norm = LlamaRMSNorm(llm_blocks.DIM, eps=1e-6)

    def forward_features(self, image: Tensor, **_) -> Tensor:
        x = self.blocks(self._pos_embed(self.patch_embed(image)))  # [batch, 1 + patches, DIM]
        x = self.llama_dim_mapper1(x)
        x = self.block_norm(self.block(x, position_embeddings=llm_blocks.unrotated(x)))
        return self.norm(self.llama_dim_mapper2(x))


def build(llm: LlamaForCausalLM) -> VitLlama:
    torch.manual_seed(200)
    model = VitLlama(llm.model.layers[-1])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("block"):
                parameter.add_(0.15 * torch.randn_like(parameter))
    model.requires_grad_(True)
    model.block.requires_grad_(False)
    model.block_norm.requires_grad_(False)
    return model


def trained(model: VitLlama) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_checkpoint(model: VitLlama, file: Path):
    state = {name: weight.detach().clone() for name, weight in trained(model).items()}
    frozen = llm_blocks.meta_block(model.block)
    state |= {f"llama.layers.0.{name}": weight.detach().clone() for name, weight in frozen.items()}
    state["llama.norm.weight"] = model.block_norm.weight.detach().clone()
    torch.save({"model": state}, file)


def adamw_losses(model: VitLlama, image: Tensor, label: Tensor) -> Tensor:
    """The loss before each step. Every trained tensor of rank > 1 decays, positions and class token too."""
    parameters = trained(model).values()
    optimizer = torch.optim.AdamW([
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ], lr=LR)
    losses = []
    for _ in range(STEPS):
        loss = F.cross_entropy(model(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def write(folder: Path, llm: LlamaForCausalLM):
    folder.mkdir(parents=True, exist_ok=True)
    model = build(llm)
    save_checkpoint(model, folder / "checkpoint.pth")

    generator = torch.Generator().manual_seed(210)
    image = torch.randn(BATCH, 3, IMAGE, IMAGE, generator=generator)
    label = torch.randint(CLASSES, (BATCH,), generator=generator)
    features = model.forward_features(image)
    logits = model.forward_head(features)
    loss = F.cross_entropy(logits, label)
    loss.backward()
    cases = {"image": image, "label": label, "features": features, "logits": logits, "loss": loss}
    cases |= {f"grad.{name}": parameter.grad.clone() for name, parameter in trained(model).items()}
    cases["losses_adamw_lr1e-3_wd0.05"] = adamw_losses(model, image, label)
    cases["logits_after_5_steps"] = model(image)
    save_file({name: value.detach().contiguous() for name, value in cases.items()}, folder / "cases.safetensors")
