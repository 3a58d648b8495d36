"""Encoders of the paper's tasks at toy size, in Hugging Face's own models: CLIP's image tower under OpenAI's names, RoBERTa
under its own, and VideoMAE's fine-tuned transformer under the names of its repository."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig, CLIPVisionModel, RobertaConfig, RobertaModel, VideoMAEConfig, VideoMAEForVideoClassification,
)

import llm_blocks

DIM, HEADS, DEPTH = 16, 2, 2


def clip():
    config = CLIPVisionConfig(
        hidden_size=DIM, intermediate_size=4 * DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, image_size=16,
        patch_size=8, hidden_act="quick_gelu", attn_implementation="eager",
    )
    torch.manual_seed(700)
    return llm_blocks.noisy(CLIPVisionModel(config), 701)


def openai_names(model):
    state = {name.removeprefix("vision_model."): tensor for name, tensor in model.state_dict().items()}
    theirs = {
        "visual.conv1.weight": state["embeddings.patch_embedding.weight"],
        "visual.class_embedding": state["embeddings.class_embedding"],
        "visual.positional_embedding": state["embeddings.position_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        theirs[f"visual.ln_pre.{kind}"] = state[f"pre_layrnorm.{kind}"]
        theirs[f"visual.ln_post.{kind}"] = state[f"post_layernorm.{kind}"]
        for i in range(DEPTH):
            ours, block = f"encoder.layers.{i}.", f"visual.transformer.resblocks.{i}."
            qkv = [state[f"{ours}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            theirs[f"{block}attn.in_proj_{kind}"] = torch.cat(qkv)
            theirs[f"{block}attn.out_proj.{kind}"] = state[f"{ours}self_attn.out_proj.{kind}"]
            theirs[f"{block}mlp.c_fc.{kind}"] = state[f"{ours}mlp.fc1.{kind}"]
            theirs[f"{block}mlp.c_proj.{kind}"] = state[f"{ours}mlp.fc2.{kind}"]
            theirs[f"{block}ln_1.{kind}"] = state[f"{ours}layer_norm1.{kind}"]
            theirs[f"{block}ln_2.{kind}"] = state[f"{ours}layer_norm2.{kind}"]
    return theirs


def roberta():
    config = RobertaConfig(
        vocab_size=30, hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=4 * DIM,
        max_position_embeddings=20, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, attn_implementation="eager",
    )
    torch.manual_seed(710)
    return llm_blocks.noisy(RobertaModel(config, add_pooling_layer=False), 711)


def videomae():
    config = VideoMAEConfig(
        image_size=16, patch_size=8, num_frames=4, tubelet_size=2, hidden_size=DIM, num_hidden_layers=DEPTH,
        num_attention_heads=HEADS, intermediate_size=4 * DIM, num_labels=5, use_mean_pooling=True, layer_norm_eps=1e-6,
        attn_implementation="eager",
    )
    torch.manual_seed(720)
    return llm_blocks.noisy(VideoMAEForVideoClassification(config), 721)


def repository_names(model):
    state = {name.removeprefix("videomae."): tensor for name, tensor in model.state_dict().items()}
    theirs = {}
    for kind in ("weight", "bias"):
        theirs[f"patch_embed.proj.{kind}"] = state[f"embeddings.patch_embeddings.projection.{kind}"]
        theirs[f"fc_norm.{kind}"] = state[f"fc_norm.{kind}"]
        theirs[f"head.{kind}"] = state[f"classifier.{kind}"]
        for i in range(DEPTH):
            ours, block = f"encoder.layer.{i}.", f"blocks.{i}."
            theirs[f"{block}norm1.{kind}"] = state[f"{ours}layernorm_before.{kind}"]
            theirs[f"{block}norm2.{kind}"] = state[f"{ours}layernorm_after.{kind}"]
            theirs[f"{block}attn.proj.{kind}"] = state[f"{ours}attention.output.dense.{kind}"]
            theirs[f"{block}mlp.fc1.{kind}"] = state[f"{ours}intermediate.dense.{kind}"]
            theirs[f"{block}mlp.fc2.{kind}"] = state[f"{ours}output.dense.{kind}"]
    for i in range(DEPTH):
        attention = f"encoder.layer.{i}.attention.attention."
        theirs[f"blocks.{i}.attn.q_bias"] = state[f"{attention}query.bias"]
        theirs[f"blocks.{i}.attn.v_bias"] = state[f"{attention}value.bias"]
        parts = [state[f"{attention}{part}.weight"] for part in ("query", "key", "value")]
        theirs[f"blocks.{i}.attn.qkv.weight"] = torch.cat(parts)
    return theirs


def write(out: Path) -> None:
    out.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(730)
    image = torch.randn(2, 3, 16, 16, generator=generator)
    tokens = torch.randint(3, 30, (3, 7), generator=generator)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 5:], mask[2, 2:] = 0, 0
    tokens[mask == 0] = 1
    clip_video = torch.randn(2, 3, 4, 16, 16, generator=generator)
    towers = {"clip": clip(), "roberta": roberta(), "videomae": videomae()}
    with torch.no_grad():
        seen = towers["clip"].vision_model if hasattr(towers["clip"], "vision_model") else towers["clip"]
        image_tokens = seen(image).last_hidden_state
        # Hugging Face norms the class token alone behind the tower; CLIP norms them all.
        image_tokens = seen.post_layernorm(image_tokens)
        words = towers["roberta"](tokens, attention_mask=mask).last_hidden_state
        logits = towers["videomae"](clip_video.transpose(1, 2)).logits
    checkpoints = {
        "clip": openai_names(towers["clip"]),
        "roberta": towers["roberta"].state_dict(),
        "videomae": repository_names(towers["videomae"]),
    }
    for name, state in checkpoints.items():
        keep = {key: tensor.clone().contiguous() for key, tensor in state.items() if tensor.is_floating_point()}
        save_file(keep, str(out / f"{name}.safetensors"))
    save_file(
        {
            "image": image, "clip": image_tokens, "tokens": tokens, "tokens.mask": mask.to(torch.uint8), "roberta": words,
            "video": clip_video, "videomae": logits,
        },
        str(out / "cases.safetensors"),
    )
