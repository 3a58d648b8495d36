"""The whole of `llama_hf` as a causal language model: scores, the loss of the next token with its gradients, four steps of
AdamW on one batch, and how it goes on with a beginning. Hugging Face's own model, with its rotary positions and its mask."""

from pathlib import Path

import torch
from safetensors.torch import save_file

import llm_blocks

BATCH, TOKENS, NEW = 3, 11, 12
LR, DECAY = 1e-2, 0.1


def write(out: Path) -> None:
    model = llm_blocks.llama_hf().requires_grad_(True)
    generator = torch.Generator().manual_seed(600)
    ids = torch.randint(0, llm_blocks.VOCAB, (BATCH, TOKENS + 1), generator=generator)
    tokens, following = ids[:, :-1], ids[:, 1:]

    def loss_of():
        logits = model(tokens).logits
        return logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten())

    tensors = {"tokens": tokens.clone(), "next": following.clone()}
    with torch.no_grad():
        begun = tokens[:1, :4]
        went_on = model.generate(begun, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)
    tensors["continued"] = went_on.clone()

    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR)
    losses = []
    for step in range(4):
        optimizer.zero_grad()
        logits, loss = loss_of()
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            tensors["logits"] = logits.detach().clone()
            for name in ("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
                         "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"):
                tensors[f"grad.{name}"] = dict(model.named_parameters())[name].grad.clone()
        optimizer.step()
    tensors["losses"] = torch.stack(losses)
    save_file(tensors, str(out / "language.safetensors"))
