"""Scores of whole language models: a LLaMA with the rotary positions of LLaMA-3.1, whose eps, base and scaling its `config.json`
alone says, and both OPTs, with what stands around their blocks."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

import llm_blocks

BATCH, TOKENS = 2, 24
# Of the four pairs of a head, within 48 tokens one turns more than 4 times, one less than once, and two in between.
ROPE = {
    "rope_type": "llama3", "rope_theta": 120.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 48,
}


def llama3() -> LlamaForCausalLM:
    config = LlamaConfig(
        hidden_size=llm_blocks.DIM, intermediate_size=48, num_hidden_layers=2, num_attention_heads=llm_blocks.HEADS,
        num_key_value_heads=2, vocab_size=llm_blocks.VOCAB, max_position_embeddings=384, rms_norm_eps=1e-2,
        rope_parameters=ROPE, tie_word_embeddings=False, attn_implementation="eager",
    )
    torch.manual_seed(900)
    return llm_blocks.noisy(LlamaForCausalLM(config), 901)


def write(out: Path) -> None:
    grown = llama3()
    llm_blocks.save_hf(grown, out / "llama3", "1MB")
    tokens = torch.randint(0, llm_blocks.VOCAB, (BATCH, TOKENS), generator=torch.Generator().manual_seed(902))
    # As many positions as the OPTs have.
    few = tokens[:, :16].clone()
    tensors = {"tokens": tokens, "few_tokens": few, "llama3": grown(tokens).logits}
    for name, seed, norm_first in [("opt_hf", 120, True), ("opt_hf_postnorm", 130, False)]:
        tensors[name] = llm_blocks.opt(seed=seed, norm_first=norm_first)(few).logits
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, str(out / "whole_models.safetensors"))
