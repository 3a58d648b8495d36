"""Checkpoints as trainers leave them: PyTorch's formats of all ages, with everything that lies beside the tensors."""

import argparse
import sys
import types
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file
from torch import nn


def stranger(module, name, base=object):
    """A class of a package that need not be installed where the file is read."""
    for i in range(1, module.count(".") + 2):
        parent = ".".join(module.split(".")[:i])
        sys.modules.setdefault(parent, types.ModuleType(parent))
    made = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))
        self.register_buffer("seen", torch.tensor(7))

    def forward(self, x):
        return x * self.weight


class Patches(nn.Module):
    """A convolution without PyTorch's own module, whose code would go into the archive."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 2, 2))

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.weight)


class Tower(nn.Module):
    """With the kinds of parts that CLIP's archive has: parameters, a buffer, modules in a list, a plain tensor."""

    def __init__(self):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(4))
        self.conv1 = Patches()
        self.resblocks = nn.ModuleList([nn.ModuleDict({"ln_1": Norm()}) for _ in range(2)])
        self.proj = nn.Parameter(torch.randn(4, 6).t())

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2) + self.class_embedding
        for block in self.resblocks:
            for norm in block.values():
                x = norm(x)
        return x @ self.proj.t()


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Tower()
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, x):
        return self.visual(x) * self.logit_scale


@contextmanager
def without_sources():
    """PyTorch's old format keeps the text and the place of each module's class, PyTorch's own among them. A class without a
    source, as one typed into a shell, has neither."""

    def none(_):
        raise OSError("no source")

    found, torch.serialization.get_source_lines_and_file = torch.serialization.get_source_lines_and_file, none
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.serialization.get_source_lines_and_file = found


def without_debugging(path):
    """Leaves out where each line of an archive's code came from; everything else stays as it was."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, data in entries:
            if not info.filename.endswith(".debug_pkl"):
                plain = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
                archive.writestr(plain, data)


def optimizer_of(model):
    optimizer = torch.optim.AdamW(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    model.zero_grad()
    return optimizer.state_dict()


def views():
    half = torch.randn(5, 3).half()
    table = torch.randn(4, 6).bfloat16()
    return OrderedDict(
        whole=torch.randn(2, 3),
        half=half,
        half_transposed=half.t(),
        half_row=half[2],
        half_columns=half[:, 1:],
        table=table,
        table_every_second=table[::2, ::3],
        permuted=torch.randn(2, 3, 4).permute(2, 0, 1),
        tied=table,
        none=torch.zeros(0, 3),
        scalar=torch.tensor(1.5, dtype=torch.float64),
        counter=torch.tensor(3),
        flags=torch.tensor([True, False]),
    )


def write(out):
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    expected = {}

    def keep(name, old, value, tensors):
        torch.save(value, out / name, _use_new_zipfile_serialization=not old)
        for key, tensor in tensors.items():
            expected[f"{name}/{key}"] = tensor.detach().float().contiguous().clone()

    # DeiT: the command line, the optimizer, an average.
    model = Norm()
    namespace = argparse.Namespace(lr=5e-4, model="deit_small", data_path=Path("/data"), opt_betas=None)
    deit = {
        "optimizer": optimizer_of(model),
        "epoch": 299,
        "args": namespace,
        "model_ema": {k: v * 2 for k, v in model.state_dict().items()},
        "model": model.state_dict(),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
    }
    for old in (True, False):
        keep(f"deit_{'old' if old else 'new'}.pth", old, deit, deit["model"])

    # Point-BERT: names of a model that was trained on several devices, metrics of a class of its own.
    metric = stranger("utils.metrics", "Acc_Metric")()
    metric.acc = torch.tensor(91.5).item()
    base = {f"module.{k}": v for k, v in model.state_dict().items()}
    keep("point_bert.pth", True, {"base_model": base, "metrics": metric, "best_metrics": metric, "epoch": 3}, base)

    # METER: Lightning's callbacks by their class, its own dict, numpy's numbers.
    callback = stranger("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    attributes = stranger("pytorch_lightning.utilities.parsing", "AttributeDict", dict)
    lightning = {
        "epoch": 9,
        "pytorch-lightning_version": "1.3.2",
        "callbacks": {callback: {"best_model_score": torch.tensor(0.7), "best": numpy.float64(0.7)}},
        "optimizer_states": [optimizer_of(model)],
        "hyper_parameters": attributes(lr=1e-5, seed=numpy.int64(0), image=numpy.zeros(3)),
        "losses": defaultdict(list, {"vqa": [0.5, numpy.float32(0.25)]}),
        "rng": {"torch": torch.get_rng_state(), "python": (3, tuple(range(5)), None)},
        "state_dict": model.state_dict(),
    }
    keep("meter.ckpt", False, lightning, model.state_dict())

    for old in (True, False):
        some = views()
        keep(f"views_{'old' if old else 'new'}.pt", old, some, some)

    # Whole modules, by PyTorch and by TorchScript.
    clip = Clip()
    keep("module.pt", False, {"epoch": 1, "model": clip, "ema": None}, clip.state_dict())
    with without_sources():
        keep("module_old.pt", True, clip, clip.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(clip.half()).save(str(out / "clip.pt"))
    without_debugging(out / "clip.pt")
    for key, tensor in clip.state_dict().items():
        expected[f"clip.pt/{key}"] = tensor.detach().float().contiguous().clone()
    save_file(expected, out / "expected.safetensors")


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "checkpoints")
