"""Writes the golden files beside this script: tiny checkpoints in the formats that users have, and what PyTorch,
Hugging Face and timm compute with them.

    python make.py                # into this folder
    python make.py --out FOLDER   # elsewhere, to compare

Steps, each a file of its own and each with its own seed, so that a change in one leaves the others' bytes alone:
  1. `llm_blocks.py`: five language-model checkpoints and the outputs of their blocks  -> `blocks.safetensors`
  2. `vit_llama.py`:  an image classifier around the last Meta block                   -> `vit_llama/`
  3. `recipes.py`:    schedules, losses, mixing, averaging and optimizer traces        -> `recipes.{safetensors,json}`
  4. `layers.py`:     single layers                                                    -> `layers.safetensors`
  5. `training.py`:   a whole run of the classifier                                    -> `training.safetensors`
  6. `language.py`:   a whole causal language model                                    -> `language.safetensors`
  7. `encoders.py`:   CLIP's image tower, RoBERTa and VideoMAE                         -> `encoders/`
  8. `checkpoints.py`: checkpoints as trainers leave them                              -> `checkpoints/`
  9. `positions.py`: the classifier on images of other sizes                          -> `positions.safetensors`
 10. `deit_run.py`:   ten steps of the classifier under the paper's recipe             -> `deit_run.safetensors`
 11. `attacks.py`:    images that are changed against the classifier                   -> `attacks.safetensors`
 12. `whole_models.py`: scores of a LLaMA-3.1 and of both OPTs                        -> `llama3/`, `whole_models.safetensors`

The same versions of the libraries write the same bytes.
"""

import argparse
from pathlib import Path

import torch
from transformers.utils import logging

import attacks
import checkpoints
import deit_run
import encoders
import language
import layers
import llm_blocks
import positions
import recipes
import training
import vit_llama
import whole_models


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="the folder to write into")
    out = parser.parse_args().out
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    llm_blocks.write(out)
    vit_llama.write(out / "vit_llama", llm_blocks.rounded_to_half(llm_blocks.llama_hf()))
    positions.write(out)
    recipes.write(out)
    layers.write(out)
    training.write(out, llm_blocks.rounded_to_half(llm_blocks.llama_hf()))
    deit_run.write(out, llm_blocks.rounded_to_half(llm_blocks.llama_hf()), training.images())
    language.write(out)
    encoders.write(out / "encoders")
    checkpoints.write(out / "checkpoints")
    whole_models.write(out)
    attacks.write(out, llm_blocks.rounded_to_half(llm_blocks.llama_hf()))

    golden = [f for f in sorted(out.rglob("*")) if f.is_file() and f.suffix in (".safetensors", ".json", ".pth", ".pt", ".ckpt")]
    for file in golden:
        print(f"{file.stat().st_size:8}  {file.relative_to(out)}")
    print(f"{sum(f.stat().st_size for f in golden):8}  in all")


if __name__ == "__main__":
    main()
