"""The classifier's vision transformer (`vit_llama/checkpoint.pth`, made for 2 x 2 patches) on images of other sizes: its
learned positions are interpolated bicubically, the class token's left as it is.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from vit_llama import DEPTH, DIM, HEADS, PATCH

GRIDS = [1, 3, 5]


def write(out: Path):
    state = torch.load(out / "vit_llama/checkpoint.pth")["model"]
    torch.manual_seed(900)
    cases = {}
    for side in GRIDS:
        model = VisionTransformer(img_size=side * PATCH, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS)
        known = {name: state[name] for name in model.state_dict() if not name.startswith("head")}
        first, grid = known["pos_embed"][:, :1], known["pos_embed"][:, 1:]
        grid = F.interpolate(grid.reshape(1, 2, 2, DIM).permute(0, 3, 1, 2), size=(side, side), mode="bicubic",
                             align_corners=False)
        known["pos_embed"] = torch.cat([first, grid.permute(0, 2, 3, 1).reshape(1, side * side, DIM)], dim=1)
        model.load_state_dict(known, strict=False)
        image = torch.randn(1, 3, side * PATCH, side * PATCH)
        with torch.no_grad():
            tokens = model.patch_embed(image)
            tokens = torch.cat([model.cls_token.expand(len(image), -1, -1), tokens], dim=1) + model.pos_embed
            for block in model.eval().blocks:
                tokens = block(tokens)
        cases |= {f"{side}.image": image, f"{side}.positions": known["pos_embed"][0], f"{side}.tokens": tokens}
    save_file({name: tensor.contiguous() for name, tensor in cases.items()}, out / "positions.safetensors")
