"""Single layers that the models here do not show: stochastic depth, the mean over real tokens, and the mask that a class
token lengthens.

Each case is a function that returns its tensors, which go into `layers.safetensors` as `CASE.TENSOR`.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.layers import DropPath
from timm.models import create_model
from torch import Tensor, nn

RATES = (0.1, 0.25, 0.5, 0.9)


def kept_samples(x: Tensor, rate: float) -> Tensor:
    """`x` as timm scales it where it is kept: each sample [tokens, channels] from a draw that kept it."""
    layer = DropPath(rate).train()
    kept, seen = torch.zeros_like(x), torch.zeros(len(x), dtype=torch.bool)
    while not seen.all():
        y = layer(x)
        alive = y.flatten(1).abs().amax(1) > 0
        assert (y[~alive] == 0).all()
        kept[alive], seen = y[alive], seen | alive
    return kept


def stochastic_depth() -> dict[str, Tensor]:
    """`rates` are those of the blocks of timm's ViT-S with `drop_path_rate=0.1` (paper.md §3.1)."""
    torch.manual_seed(400)
    x = torch.randn(8, 3, 4)
    vit = create_model("vit_small_patch16_224", drop_path_rate=0.1)
    rates = [getattr(block.drop_path2, "drop_prob", 0.0) for block in vit.blocks]
    cases = {"x": x, "evaluated": DropPath(0.5).eval()(x).clone(), "rates": torch.tensor(rates)}
    return cases | {f"kept_{rate}": kept_samples(x, rate) for rate in RATES}


def per_sample_mean(x: Tensor, real: Tensor) -> Tensor:
    """The mean over each sample's real tokens, by picking them: [batch, channels]."""
    return torch.stack([tokens[keep].mean(0) for tokens, keep in zip(x, real)])


def mean_tokens() -> dict[str, Tensor]:
    """The mask is not a prefix everywhere, and padding is large, so that it shows where it leaks."""
    generator = torch.Generator().manual_seed(410)
    x = torch.randn(4, 5, 6, generator=generator)
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 1, 1, 0]], dtype=torch.bool)
    x = torch.where(real[..., None], x, 50.0 * x)
    return {"x": x, "mask": real.float(), "plain": x.mean(1), "masked": per_sample_mean(x, real)}


def class_token() -> dict[str, Tensor]:
    """A class token, then PyTorch's own attention with padded keys left out, then the mean over what is real."""
    torch.manual_seed(420)
    x, token = torch.randn(3, 4, 8), torch.randn(1, 1, 8)
    real = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0]], dtype=torch.bool)
    tokens = torch.cat([token.expand(3, -1, -1), x], dim=1)  # [batch, 1 + tokens, channels]
    longer = torch.cat([torch.ones(3, 1, dtype=torch.bool), real], dim=1)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    nn.init.normal_(attention.in_proj_bias)
    nn.init.normal_(attention.out_proj.bias)
    seen, _ = attention(tokens, tokens, tokens, key_padding_mask=~longer, need_weights=False)
    return {
        "x": x, "mask": real.float(), "longer_mask": longer.float(), "token": token,
        "qkv.weight": attention.in_proj_weight, "qkv.bias": attention.in_proj_bias,
        "proj.weight": attention.out_proj.weight, "proj.bias": attention.out_proj.bias,
        "seen": seen, "mean": per_sample_mean(seen, longer),
    }


def write(out: Path):
    tensors = {}
    for case in (stochastic_depth, mean_tokens, class_token):
        tensors |= {f"{case.__name__}.{name}": value.detach().contiguous() for name, value in case().items()}
    save_file(tensors, out / "layers.safetensors")
