"""Images a second on one core, by lmv and by torchvision with timm's RandAugment and random erasing, in turn.

    python measure.py FOLDER --lmv PATH/TO/input_rate

FOLDER has a folder of images for each of two classes or more. Both sides read, decode, crop to 224, flip, augment, normalise,
erase, and make batches of 32, on one thread.
"""

import argparse
import statistics
import subprocess
import time
import warnings

warnings.filterwarnings("ignore")

import torch
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pytorch(folder: str, count: int) -> float:
    transform = transforms.Compose([
        transforms.RandomResizedCrop(224, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.RandomHorizontalFlip(),
        # Pillow 10 and newer refuse to posterize to no bits, which a magnitude of 10 asks for.
        rand_augment_transform("rand-m9-mstd0.2-inc1", {"img_mean": (124, 116, 104), "interpolation": 3}),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
        RandomErasing(0.25, mode="pixel", max_count=1, device="cpu"),
    ])
    images = ImageFolder(folder, transform)
    count = (count // 32) * 32

    def rate(count: int) -> float:
        order = [i % len(images) for i in range(count)]
        begun = time.perf_counter()
        for _ in DataLoader(Subset(images, order), 32, num_workers=0):
            pass
        return count / (time.perf_counter() - begun)

    rate(64)
    return rate(count)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--lmv", required=True)
    parser.add_argument("--count", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rates = {"lmv": [], "pytorch": []}
    for _ in range(given.rounds):
        lmv = subprocess.run([given.lmv, given.folder, str(given.count)], capture_output=True, text=True, check=True)
        rates["lmv"].append(float(lmv.stdout))
        rates["pytorch"].append(pytorch(given.folder, given.count))
    for name, seen in rates.items():
        print(f"{name}: {statistics.median(seen):.0f} images/s ({min(seen):.0f} to {max(seen):.0f})")
    ratios = [ours / theirs for ours, theirs in zip(rates["lmv"], rates["pytorch"])]
    print(f"lmv / pytorch: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


main()
