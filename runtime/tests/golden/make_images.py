"""Writes images/: drawn inputs, and what Pillow and torchvision make of them. Run by hand; needs pillow, numpy, torchvision.

    python runtime/tests/golden/make_images.py

The tests of runtime/src/data compare with these within one grey level (a few levels for JPEG, whose decoders round apart).
"""

import io
import json
from pathlib import Path

import numpy as np
import torchvision.transforms.functional as F
from PIL import Image, ImageDraw
from torchvision.transforms.functional import _compute_resized_output_size

OUT = Path(__file__).parent / "images"


def scene(width, height, seed):
    """Edges, slopes and a patch of noise, so that a wrong kernel or an offset of half a pixel shows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 3 + y / 5)], -1)
    image = Image.fromarray(base.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x0, y0 = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(3, max(4, width // 2)), rng.integers(3, max(4, height // 2))
        draw.rectangle([int(x0), int(y0), int(x0 + w), int(y0 + h)], fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    pixels = np.asarray(image).copy()
    h, w = max(1, height // 3), max(1, width // 3)
    pixels[:h, :w] = rng.integers(0, 256, (h, w, 3))
    return Image.fromarray(pixels)


def bicubic(image, width, height):
    """Rows before columns: the order of every Pillow that the paper's authors can have had. Pillow 13 begins with the
    direction that is cheaper, which near hard edges changes the result by several levels."""
    return image.resize((width, image.height), Image.BICUBIC).resize((width, height), Image.BICUBIC)


def short_side(image, size):
    """torchvision's size for an image whose short side is to be `size`."""
    height, width = _compute_resized_output_size((image.height, image.width), [size])
    return bicubic(image, width, height)


def main():
    OUT.mkdir(exist_ok=True)
    wide, high = scene(75, 52, 0), scene(31, 47, 1)
    wide.save(OUT / "wide.png", optimize=True)
    high.save(OUT / "high.png", optimize=True)

    # (input, what, arguments) → output
    cases = []

    def case(name, source, what, arguments, result):
        result.save(OUT / f"{name}.png", optimize=True)
        cases.append({"name": name, "input": source, "what": what, "arguments": arguments})

    case("wide_resize_20", "wide", "resize", [20], short_side(wide, 20))
    case("high_resize_20", "high", "resize", [20], short_side(high, 20))
    case("high_resize_45", "high", "resize", [45], short_side(high, 45))
    case("wide_exact_40_33", "wide", "resize_exact", [40, 33], bicubic(wide, 40, 33))
    case("wide_exact_90_17", "wide", "resize_exact", [90, 17], bicubic(wide, 90, 17))
    case("wide_center_24", "wide", "center_crop", [24], F.center_crop(wide, 24))
    case("high_center_40", "high", "center_crop", [40], F.center_crop(high, 40))
    case("high_center_60", "high", "center_crop", [60], F.center_crop(high, 60))
    # top, left, height, width, size
    case("wide_crop_resize", "wide", "resized_crop", [9, 21, 30, 37, 24], bicubic(F.crop(wide, 9, 21, 30, 37), 24, 24))
    case("wide_eval_16", "wide", "eval", [18, 16], F.center_crop(short_side(wide, 18), 16))

    # Files in every mode, and what convert("RGB") gives. Smooth, so that JPEG's rounding stays small.
    smooth = scene(33, 27, 2).resize((17, 13), Image.BICUBIC).resize((33, 27), Image.BICUBIC)
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 33).astype(np.uint8), (27, 1)))
    files = {}

    def file(name, image, **options):
        data = io.BytesIO()
        image.save(data, **options)
        (OUT / name).write_bytes(data.getvalue())
        files[name] = f"{name}.rgb.png"
        Image.open(io.BytesIO(data.getvalue())).convert("RGB").save(OUT / f"{name}.rgb.png", optimize=True)

    file("grey.jpg", smooth.convert("L"), format="JPEG", quality=90)
    file("rgb.jpg", smooth, format="JPEG", quality=90, subsampling=0)
    file("rgb420.jpg", smooth, format="JPEG", quality=90, subsampling=2)
    file("progressive.jpg", smooth, format="JPEG", quality=90, progressive=True)
    file("cmyk.jpg", smooth.convert("CMYK"), format="JPEG", quality=90)
    file("plain_rgb.jpg", smooth, format="JPEG", quality=90, keep_rgb=True)
    file("palette.png", smooth.quantize(32), format="PNG")
    masked = smooth.quantize(32)
    file("palette_clear.png", masked, format="PNG", transparency=3)
    file("grey_alpha.png", Image.merge("LA", [smooth.convert("L"), alpha]), format="PNG")
    file("rgba.png", Image.merge("RGBA", [*smooth.split(), alpha]), format="PNG")
    file("one_bit.png", smooth.convert("1"), format="PNG")
    file("rgb.bmp", smooth, format="BMP")
    file("rgb.webp", smooth, format="WEBP", lossless=True)
    file("palette.gif", smooth.quantize(32), format="GIF")
    file("rgb.tif", smooth, format="TIFF")
    exif = Image.Exif()
    exif[0x0112] = 6
    file("turned.jpg", smooth, format="JPEG", quality=90, subsampling=0, exif=exif)

    (OUT / "cases.json").write_text(json.dumps({"cases": cases, "files": files}, indent=1) + "\n")


main()
