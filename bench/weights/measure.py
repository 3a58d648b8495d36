"""Measures what it costs to load the last block of the files that `load_block make` wrote, by lmv and by PyTorch.

    python measure.py FOLDER --lmv ../../target/release/examples/load_block [--rounds 7] [--json FILE]

Each round does everything once, each in a process of its own, so that whatever else the machine does falls on all.
Before each, the page cache of the files is emptied (`cold`) or filled with the block (`warm`). README.md says what the
ways are and what is counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LOCALS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
          "mlp.down_proj", "input_layernorm", "post_attention_layernorm"]


def places(folder):
    """The block's bytes as ranges of files: in the shard of safetensors, and in the `.pth`."""
    index = json.loads((folder / "hf/model.safetensors.index.json").read_text())["weight_map"]
    last = max(int(name.split(".")[2]) for name in index if name.startswith("model.layers."))
    found = {"hf": [], "meta": []}
    for shard in sorted(set(index.values())):
        with open(folder / "hf" / shard, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name.startswith(f"model.layers.{last}."):
                begin, end = entry["data_offsets"]
                found["hf"].append((folder / "hf" / shard, 8 + length + begin, end - begin))
    # Nothing but the block is there: the rest of the `.pth` is a hole.
    pth = folder / "meta/consolidated.00.pth"
    file = os.open(pth, os.O_RDONLY)
    at, size = 0, pth.stat().st_size
    while at < size:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(file, at, os.SEEK_HOLE)
        if end - at > 1 << 20:
            found["meta"].append((pth, at, end - at))
        at = end
    os.close(file)
    return last, found


def empty(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def fill(ranges):
    for path, at, length in ranges:
        with open(path, "rb") as file:
            file.seek(at)
            while length > 0:
                length -= len(file.read(min(length, 1 << 22)))


def dd(ranges):
    """The block's bytes once, to nowhere."""
    start, read = time.perf_counter(), 0
    for path, at, length in ranges:
        # Whole ranges in one process each, and no more processes than there are ranges.
        subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", "iflag=skip_bytes,count_bytes", f"skip={at}",
                        f"count={length}", "status=none"], check=True)
        read += length
    return {"seconds": time.perf_counter() - start, "read": read, "peak_kib": 0}


def merged(ranges):
    out = []
    for path, at, length in sorted(ranges):
        if out and out[-1][0] == path and out[-1][1] + out[-1][2] == at:
            out[-1] = (path, out[-1][1], out[-1][2] + length)
        else:
            out.append((path, at, length))
    return out


def proc(file, key):
    for line in open(f"/proc/self/{file}"):
        if line.startswith(key):
            return int(line.split()[1])


def python(way, folder, last):
    """One of PyTorch's ways, in this process."""
    import torch
    from safetensors import safe_open

    before = proc("io", "read_bytes:")
    start = time.perf_counter()
    if way == "torch.load":
        # As the reference code: everything, then the block out of it.
        every = torch.load(folder / "meta/consolidated.00.pth", map_location="cpu")
        block = {k: v.float() for k, v in every.items() if k.startswith(f"layers.{last}.")}
    elif way == "torch.load(mmap)":
        every = torch.load(folder / "meta/consolidated.00.pth", map_location="cpu", mmap=True)
        block = {k: v.float() for k, v in every.items() if k.startswith(f"layers.{last}.")}
    else:
        index = json.loads((folder / "hf/model.safetensors.index.json").read_text())["weight_map"]
        block = {}
        for shard in sorted({index[f"model.layers.{last}.{local}.weight"] for local in LOCALS}):
            with safe_open(folder / "hf" / shard, framework="pt") as file:
                for local in LOCALS:
                    name = f"model.layers.{last}.{local}.weight"
                    if index[name] == shard:
                        block[name] = file.get_tensor(name).float()
    seconds = time.perf_counter() - start
    assert len(block) == 9
    return {"seconds": seconds, "read": proc("io", "read_bytes:") - before, "peak_kib": proc("status", "VmHWM:")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lmv", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--without", nargs="*", default=[], help="ways to leave out")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--last", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(python(arguments.way, arguments.folder, arguments.last)))
        return
    last, found = places(arguments.folder)
    ranges = {kind: merged(found[kind]) for kind in found}

    def child(*command):
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def of(way):
        command = [sys.executable, __file__, arguments.folder, "--way", way, "--last", str(last)]
        return lambda: child(*map(str, command))

    def lmv(path):
        return lambda: child(str(arguments.lmv), "load", str(path), str(last))

    ways = {
        "hf": {"dd": lambda: dd(ranges["hf"]), "lmv": lmv(arguments.folder / "hf"), "safe_open": of("safe_open")},
        "meta": {
            "dd": lambda: dd(ranges["meta"]),
            "lmv": lmv(arguments.folder / "meta"),
            "torch.load": of("torch.load"),
            "torch.load(mmap)": of("torch.load(mmap)"),
        },
    }
    kept = {}
    for _ in range(arguments.rounds):
        for cache in ["cold", "warm"]:
            for kind, each in ways.items():
                for way, run in each.items():
                    if way in arguments.without:
                        continue
                    empty(arguments.folder)
                    if cache == "warm":
                        fill(ranges[kind])
                    kept.setdefault((cache, kind, way), []).append(run())
    rows = []
    for (cache, kind, way), runs in kept.items():
        median = {key: statistics.median(run[key] for run in runs) for key in ["seconds", "read", "peak_kib"]}
        reference = kept[cache, kind, "dd"]
        ratio = statistics.median(run["seconds"] / other["seconds"] for run, other in zip(runs, reference))
        rows.append({"cache": cache, "files": kind, "way": way, **median, "over_dd": ratio,
                     "block": sum(length for _, _, length in found[kind]), "all": [run["seconds"] for run in runs]})
        print(f"{cache}  {kind:4}  {way:17} {median['seconds']:8.3f} s  x{ratio:6.2f} of dd"
              f"  read {median['read'] / 1e6:9.1f} MB  peak {median['peak_kib'] * 1.024e-3:8.1f} MB")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
