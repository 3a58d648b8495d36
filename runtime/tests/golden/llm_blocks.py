"""Five tiny language-model checkpoints, and the outputs of their blocks for one input.

A block runs inside Hugging Face's own decoder layer. The paper's way (no rotary embedding, no causal mask) is reached from
outside it: the rotation gets cos = 1 and sin = 0, and the additive attention mask is absent or hides padded keys only.
"""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

DIM, HEADS, FFN, LAYERS, VOCAB = 32, 4, 96, 2, 40
# Meta stores no FFN width: it is the multiple of this number next above 2/3 of 4*DIM, 96 here (paper.md §1.2).
META_MULTIPLE_OF = 32
NORM_EPS, ROPE_THETA = 1e-6, 10000.0
HEAD_DIM = DIM // HEADS
BATCH, TOKENS, VALID_OF_LAST = 2, 7, 4


# ---- checkpoints ----


def noisy(model: nn.Module, seed: int) -> nn.Module:
    """Fresh norms are all ones, fresh biases all zeros, and both hide mistakes. Fresh linears are so small that every
    attention is uniform; 0.2 a weight gives scores of about one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


def llama(seed: int, kv_heads: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        hidden_size=DIM, intermediate_size=FFN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=kv_heads, vocab_size=VOCAB, max_position_embeddings=32, rms_norm_eps=NORM_EPS,
        rope_theta=ROPE_THETA, tie_word_embeddings=False, attn_implementation="eager",
    )
    torch.manual_seed(seed)
    return noisy(LlamaForCausalLM(config), seed + 1)


def llama_hf() -> LlamaForCausalLM:
    return llama(seed=100, kv_heads=HEADS)


def llama_hf_gqa_bf16() -> LlamaForCausalLM:
    return llama(seed=110, kv_heads=HEADS // 2).to(torch.bfloat16)


def opt(seed: int, norm_first: bool) -> OPTForCausalLM:
    """`norm_first` false is the 350M model's way: norms after the residual sums, and narrower embeddings."""
    config = OPTConfig(
        hidden_size=DIM, ffn_dim=FFN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, vocab_size=VOCAB,
        word_embed_proj_dim=DIM if norm_first else DIM // 2, do_layer_norm_before=norm_first,
        max_position_embeddings=16, dropout=0.0, attention_dropout=0.0, attn_implementation="eager",
    )
    torch.manual_seed(seed)
    return noisy(OPTForCausalLM(config), seed + 1)


def save_hf(model, folder: Path, max_shard_size: str):
    """As Hugging Face saves it, minus the generation settings, which no block needs."""
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)


def interleaved(weight: Tensor) -> Tensor:
    """q or k rows from Hugging Face's order (the two rotary halves of a head one after the other) to Meta's (pairs)."""
    rows, columns = weight.shape
    pairs = weight.view(rows // HEAD_DIM, 2, HEAD_DIM // 2, columns).transpose(1, 2)
    return pairs.reshape(rows, columns).contiguous()


def meta_block(layer: nn.Module) -> dict[str, Tensor]:
    """The tensors of one block under Meta's names, without the `layers.N.` in front (paper.md §2.2)."""
    attention, mlp = layer.self_attn, layer.mlp
    return {
        "attention.wq.weight": interleaved(attention.q_proj.weight),
        "attention.wk.weight": interleaved(attention.k_proj.weight),
        "attention.wv.weight": attention.v_proj.weight,
        "attention.wo.weight": attention.o_proj.weight,
        "feed_forward.w1.weight": mlp.gate_proj.weight,
        "feed_forward.w2.weight": mlp.down_proj.weight,
        "feed_forward.w3.weight": mlp.up_proj.weight,
        "attention_norm.weight": layer.input_layernorm.weight,
        "ffn_norm.weight": layer.post_attention_layernorm.weight,
    }


def save_meta(model: LlamaForCausalLM, folder: Path):
    state = {"tok_embeddings.weight": model.model.embed_tokens.weight}
    for index, layer in enumerate(model.model.layers):
        block = {name: weight.half() for name, weight in meta_block(layer).items()}
        # Read by nobody, but the original files have it, and the reference's point-cloud loader requires it (§2.1).
        block["attention.inner_attention.rope.freqs"] = ROPE_THETA ** -(torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
        state |= {f"layers.{index}.{name}": weight for name, weight in block.items()}
    state |= {"norm.weight": model.model.norm.weight, "output.weight": model.lm_head.weight}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({name: weight.detach().half().clone() for name, weight in state.items()}, folder / "consolidated.00.pth")
    params = {"dim": DIM, "multiple_of": META_MULTIPLE_OF, "n_heads": HEADS, "n_layers": LAYERS,
              "norm_eps": NORM_EPS, "vocab_size": -1}
    (folder / "params.json").write_text(json.dumps(params))


def rounded_to_half(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """What the Meta checkpoint of `model` holds, to compute with in f32."""
    return copy.deepcopy(model).half().float()


# ---- blocks ----


def hide_keys(key_mask: Tensor) -> Tensor:
    """[batch, tokens], true on real tokens, to the additive mask [batch, 1, 1, tokens] that the layers take."""
    return torch.where(key_mask, 0.0, torch.finfo(torch.float32).min)[:, None, None, :]


def unrotated(x: Tensor) -> tuple[Tensor, Tensor]:
    """The (cos, sin) that turn no token."""
    shape = (x.shape[0], x.shape[1], HEAD_DIM)
    return torch.ones(shape), torch.zeros(shape)


def llama_cases(model: LlamaForCausalLM, x: Tensor, key_mask: Tensor) -> dict[str, Tensor]:
    model = copy.deepcopy(model).float()
    causal = torch.full((TOKENS, TOKENS), torch.finfo(torch.float32).min).triu(1)[None, None]
    # A fresh one: casting a model to half precision and back has rounded its own frequencies.
    rotated = LlamaRotaryEmbedding(model.config)(x, torch.arange(TOKENS)[None].expand(BATCH, -1))
    cases = {}
    for index, layer in enumerate(model.model.layers):
        name, seen = f"layer{index}", {}
        hooks = [
            layer.self_attn.register_forward_hook(lambda _, __, out: seen.update({".attention": out[1]})),
            layer.post_attention_layernorm.register_forward_pre_hook(
                lambda _, args: seen.update({".after_attention": args[0]})),
        ]
        cases[name] = layer(x, position_embeddings=unrotated(x))
        for hook in hooks:
            hook.remove()
        cases |= {name + tap: value for tap, value in seen.items()}
        cases[name + ".masked"] = layer(x, attention_mask=hide_keys(key_mask), position_embeddings=unrotated(x))
        cases[name + ".rope_causal"] = layer(x, attention_mask=causal, position_embeddings=rotated)
    return cases


def opt_cases(model: OPTForCausalLM, x: Tensor, key_mask: Tensor) -> dict[str, Tensor]:
    cases = {}
    for index, layer in enumerate(model.model.decoder.layers):
        cases[f"layer{index}"] = layer(x)
        cases[f"layer{index}.masked"] = layer(x, attention_mask=hide_keys(key_mask))
    return cases


def write(out: Path):
    plain, grouped = llama_hf(), llama_hf_gqa_bf16()
    pre_norm, post_norm = opt(seed=120, norm_first=True), opt(seed=130, norm_first=False)
    # Shards so small that one block lies in two of them.
    save_hf(plain, out / "llama_hf", "50KB")
    save_hf(grouped, out / "llama_hf_gqa_bf16", "20KB")
    save_meta(plain, out / "llama_meta")
    save_hf(pre_norm, out / "opt_hf", "1MB")
    save_hf(post_norm, out / "opt_hf_postnorm", "1MB")

    x = torch.randn(BATCH, TOKENS, DIM, generator=torch.Generator().manual_seed(140))
    key_mask = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    key_mask[-1, VALID_OF_LAST:] = False
    outputs = {
        "llama_hf": llama_cases(plain, x, key_mask),
        "llama_hf_gqa_bf16": llama_cases(grouped, x, key_mask),
        "llama_meta": llama_cases(rounded_to_half(plain), x, key_mask),
        "opt_hf": opt_cases(pre_norm, x, key_mask),
        "opt_hf_postnorm": opt_cases(post_norm, x, key_mask),
    }
    tensors = {"x": x, "key_mask": key_mask.to(torch.uint8)}
    for model, cases in outputs.items():
        tensors |= {f"{model}.{case}": value.contiguous() for case, value in cases.items()}
    save_file(tensors, out / "blocks.safetensors")
