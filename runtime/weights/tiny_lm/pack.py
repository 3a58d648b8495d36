"""Makes model.safetensors of the checkpoint that a run of specs/language/tiny.lmv left.

    python pack.py runs/tiny-1/checkpoints/best/model.safetensors

Half precision, Hugging Face's names. Needs numpy and safetensors.
"""

import pathlib
import re
import sys

import numpy
from safetensors.numpy import load_file, save_file

LOCALS = {
    "attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj", "feed_forward.w1": "mlp.gate_proj", "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj", "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}
ENDS = {
    "embed.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight", "output.weight": "lm_head.weight",
}


def theirs(ours):
    if ours in ENDS:
        return ENDS[ours]
    layer, local = re.fullmatch(r"tiny\w*\.layer\.(\d+)\.(.*)\.weight", ours).groups()
    return f"model.layers.{layer}.{LOCALS[local]}.weight"


tensors = {theirs(name): tensor.astype(numpy.float16) for name, tensor in load_file(sys.argv[1]).items()}
out = pathlib.Path(__file__).with_name("model.safetensors")
save_file(dict(sorted(tensors.items())), out)
print(out, out.stat().st_size, "bytes,", sum(tensor.size for tensor in tensors.values()), "numbers")
