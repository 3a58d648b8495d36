"""Writes augmentations/: what timm 0.4.12, torchvision and Pillow make of drawn images. Run by hand.

    pip install pillow==9.5.0 timm==0.4.12 torchvision numpy
    python runtime/tests/golden/augmentations.py

Pillow 9.5 is of the paper's time. Since 13 it resizes the cheaper direction first, and refuses to posterize to no bits.

`scene` is drawn with whole numbers, so that the tests draw the same images and only results lie here.
"""

import json
import math
import random
from pathlib import Path
from unittest import mock

import numpy as np
import PIL
import torch
import torchvision.transforms.functional as F
from PIL import Image
from timm.data.auto_augment import AugmentOp, _RAND_INCREASING_TRANSFORMS
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import InterpolationMode

OUT = Path(__file__).parent / "augmentations"
FILL = (124, 116, 104)
MAGNITUDES = (2.5, 6.0, 9.3)


def scene(width: int, height: int, seed: int, grey: bool = False) -> Image.Image:
    """A slope, rings, boxes with hard edges, and noise in the upper left third."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            pixels[y, x] = (255 * x // max(width - 1, 1), 255 * y // max(height - 1, 1), (x * x + 3 * y * y + 40 * seed) // 7 % 256)
            if 3 * x < width and 3 * y < height:
                for c in range(3):
                    pixels[y, x, c] = (x * 1103 + y * 2333 + x * y * 7919 + c * 4051 + seed * 631) * 48271 % 65537 % 256
    for k in range(4):
        left, top = (seed * 7 + k * 11) % width, (seed * 5 + k * 13) % height
        right, bottom = left + 3 + (seed + k * k) % max(width // 2, 1), top + 3 + (seed * 3 + k) % max(height // 2, 1)
        pixels[top:bottom, left:right] = ((seed * 37 + k * 71) % 256, (k * 101 + seed * 13) % 256, (k * 53 + seed * 29) % 256)
    if grey:
        pixels = np.repeat(pixels[:, :, 1:2], 3, axis=2)
    return Image.fromarray(pixels)


def stack(name: str, images: list[Image.Image]):
    """All of one size, one below the other."""
    Image.fromarray(np.concatenate([np.asarray(image) for image in images])).save(OUT / name, optimize=True)


def operation(name: str, image: Image.Image, magnitude: float, negative: bool) -> Image.Image:
    op = AugmentOp(name, prob=1.0, magnitude=magnitude, hparams={"img_mean": FILL, "interpolation": Image.BICUBIC})
    with mock.patch("random.random", return_value=1.0 if negative else 0.0):
        return op(image)


def operations() -> list[dict]:
    """Every operation at three magnitudes, both ways where it has two, on two images."""
    scenes = [("colour", scene(33, 25, 1)), ("grey", scene(40, 52, 2, grey=True))]
    cases, results = [], {"colour": [], "grey": []}
    for name in _RAND_INCREASING_TRANSFORMS:
        seen = None
        for magnitude in MAGNITUDES:
            ways = [operation(name, scenes[0][1], magnitude, negative) for negative in (False, True)]
            both = np.any(np.asarray(ways[0]) != np.asarray(ways[1]))
            if seen is not None and not both and np.all(np.asarray(ways[0]) == seen):
                continue  # it has no strength
            seen = np.asarray(ways[0])
            for negative in (False, True) if both else (False,):
                cases.append({"operation": name, "magnitude": magnitude, "negative": negative})
                for kind, image in scenes:
                    results[kind].append(operation(name, image, magnitude, negative))
    for kind, images in results.items():
        stack(f"operations_{kind}.png", images)
    return cases


# Width, height: odd, small, very wide, very high, and a single pixel.
SIZES = [(75, 51), (51, 75), (33, 33), (127, 93), (23, 17), (17, 23), (9, 7), (5, 5), (3, 11), (1, 1), (211, 9), (7, 181), (97, 24),
         (24, 97), (25, 25), (23, 25), (160, 120), (37, 111), (101, 67), (49, 47)]


def resizes(side: int = 24) -> list[dict]:
    """Each image as a whole, a window of it, and its middle after its short side was resized, all to `side` × `side`."""
    cases, results = [], []
    for seed, (width, height) in enumerate(SIZES):
        grey = seed % 4 == 3
        image = scene(width, height, seed, grey)
        w, h = max(1, width * (3 + seed % 5) // 8), max(1, height * (3 + seed % 4) // 8)
        window = {"left": (width - w) * (seed % 3) // 2, "top": (height - h) * (seed % 2), "width": w, "height": h}
        whole = F.resize(image, [side, side], InterpolationMode.BICUBIC)
        crop = F.resized_crop(image, window["top"], window["left"], h, w, [side, side], InterpolationMode.BICUBIC)
        middle = F.center_crop(F.resize(image, side, InterpolationMode.BICUBIC), side)
        cases.append({"width": width, "height": height, "seed": seed, "grey": grey, "window": window})
        results += [whole, crop, middle]
    stack("resizes.png", results)
    return cases


def numbers(count: int, seed: int) -> list[float]:
    """Evenly between 0 and 1, with few digits."""
    generator = random.Random(seed)
    return [round(generator.random(), 4) for _ in range(count)]


class Stream:
    """Stands for Python's generator: `random`, `uniform` and `randint` take the next of given numbers."""

    def __init__(self, given: list[float]):
        self.given, self.taken = given, 0

    def random(self) -> float:
        self.taken += 1
        return self.given[self.taken - 1]

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def randint(self, low: int, high: int) -> int:
        return low + int(self.random() * (high - low + 1))


def erasings() -> list[dict]:
    """Rectangles that are erased for given numbers, all of which are used in the order: whether, and then for each try area,
    aspect, and where it fits row and column."""
    cases = []
    for seed in range(24):
        height, width = [(224, 224), (33, 70), (12, 9), (2, 50)][seed % 4]
        given = [0.1 + 0.2 * (seed % 6 == 5)] + numbers(42, seed)
        stream = Stream(given)
        erasing = RandomErasing(0.25, mode="pixel", max_count=1, device="cpu")
        image = torch.zeros(3, height, width)
        with mock.patch("timm.data.random_erasing.random", stream), \
                mock.patch("timm.data.random_erasing._get_pixels", lambda per_pixel, *rest, **named: torch.full(rest[1], float(per_pixel))):
            erasing(image)
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
        rows, columns = image[0].nonzero(as_tuple=True)
        rectangle = None
        if len(rows):
            rectangle = [int(rows.min()), int(columns.min()), int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)]
            assert len(rows) == rectangle[2] * rectangle[3]
        cases.append({"height": height, "width": width, "numbers": given[:stream.taken], "rectangle": rectangle})
    assert any(case["rectangle"] is None for case in cases)
    return cases


def mixes() -> list[dict]:
    """Mixup and cutmix of a batch of 4 images of 3 × 6 × 5, image i full of i + 1 in its first channel and of 10 (i + 1) + column in
    the second, for given λ and centres of the box: the mixed batch and its targets of 5 classes with smoothing 0.1."""
    cases = []
    images = torch.zeros(4, 3, 6, 5)
    images[:, 0] = torch.arange(1.0, 5.0)[:, None, None]
    images[:, 1] = 10 * torch.arange(1.0, 5.0)[:, None, None] + torch.arange(5.0)
    labels = torch.tensor([3, 0, 4, 3])
    for cutmix, lam, centre in [(False, 0.3, None), (False, 1.0, None), (True, 0.4, (2, 3)), (True, 0.75, (0, 0)), (True, 0.02, (5, 4))]:
        mix = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode="batch", label_smoothing=0.1, num_classes=5)
        given = mock.patch.object(mix, "_params_per_batch", lambda: (lam, cutmix))
        centres = mock.patch("timm.data.mixup.np.random.randint", side_effect=centre)
        cpu = mock.patch("timm.data.mixup.one_hot", lambda x, classes, on_value, off_value, device:
                         torch.full((len(x), classes), off_value).scatter_(1, x.long().view(-1, 1), on_value))
        with given, centres, cpu:
            mixed, targets = mix(images.clone(), labels)
        cases.append({"cutmix": cutmix, "lambda": lam, "centre": centre, "mixed": [round(v, 5) for v in mixed[:, :2].flatten().tolist()],
                      "targets": [round(v, 6) for v in targets.flatten().tolist()]})
    return cases


def main():
    assert PIL.__version__ == "9.5.0", f"this is Pillow {PIL.__version__}"
    OUT.mkdir(exist_ok=True)
    written = {"operations": operations(), "resizes": resizes(), "erasings": erasings(), "mixes": mixes()}
    lines = [f' "{name}": [\n  ' + ",\n  ".join(json.dumps(case) for case in cases) + "\n ]" for name, cases in written.items()]
    (OUT / "cases.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
