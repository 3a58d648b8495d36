"""Writes corruptions/: a drawn image under the corruptions of ImageNet-C, by scikit-image, scipy, OpenCV, Pillow and
ImageMagick. Run by hand; needs a system with ImageMagick 6 (libmagickwand-6.q16) and

    pip install numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 opencv-python-headless==5.0.0.93 pillow==13.0.0 wand==0.7.2
    python runtime/tests/golden/corruptions.py

Each file is a strip: the five severities below each other. Random numbers are those of `Stream`, which the tests in
runtime/src/data/corruptions/tests.rs have too. Written from the definitions of Hendrycks and Dietterich (2019) and the constants
of their make_imagenet_c.py.
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from wand.image import Image as Wand

OUT = Path(__file__).parent / "corruptions"
SIDE = 40


class Stream:
    """SplitMix64, one number after the other."""

    def __init__(self, seed):
        self.state = np.uint64(seed)

    def units(self, *shape):
        """From 0 to 1."""
        n = int(np.prod(shape))
        with np.errstate(over="ignore"):
            z = self.state + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            self.state = self.state + np.uint64(n) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
        return ((z >> np.uint64(11)).astype(np.float64) / 2**53).reshape(shape)

    def around_zero(self, *shape):
        """From -1 to 1."""
        return self.units(*shape) * 2 - 1

    def bells(self, *shape):
        """Near normal: the sum of twelve, minus six."""
        return self.units(*shape, 12).sum(-1) - 6


def picture():
    """Slopes, edges, saturated colours, black, white, and a patch of noise."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    image = np.stack([6 * x, 6 * y, 128 + 127 * np.sin(x / 3 + y / 5)], -1)
    image[5:17, 20:33] = (250, 30, 60)
    image[22:35, 4:12] = (0, 0, 0)
    image[28:38, 26:36] = (255, 255, 255)
    image[:10, :10] = Stream(1).units(10, 10, 3) * 256
    return image.clip(0, 255).astype(np.uint8)


def levels(image):
    return np.asarray(image) / 255.0


def whole(levels):
    return np.uint8(np.clip(levels, 0, 1) * 255)


def moved(image, radius, sigma, angle):
    """ImageMagick's motion blur of an RGB or grey array."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    with Wand(blob=data.getvalue()) as wand:
        wand.motion_blur(radius=radius, sigma=sigma, angle=angle)
        back = Image.open(io.BytesIO(wand.make_blob("png")))
    return np.asarray(back.convert("RGB" if image.ndim == 3 else "L"))


def into_the_middle(x, factor):
    side = x.shape[0]
    middle = int(np.ceil(side / factor))
    first = (side - middle) // 2
    x = ndimage.zoom(x[first : first + middle, first : first + middle], (factor, factor, 1), order=1)
    trim = (x.shape[0] - side) // 2
    return x[trim : trim + side, trim : trim + side]


def heights(side, decay, stream):
    """Diamonds and squares on a map that goes on at its other side."""
    grid = np.zeros((side, side))
    step, wibble = side, 100.0
    while step >= 2:
        half = step // 2

        def mean(total):
            return total / 4 + wibble * wibble * stream.around_zero(*total.shape)

        corners = grid[::step, ::step]
        below, right = np.roll(corners, -1, 0), np.roll(corners, -1, 1)
        grid[half::step, half::step] = mean(corners + below + right + np.roll(below, -1, 1))
        centres = grid[half::step, half::step]
        grid[::step, half::step] = mean(corners + right + centres + np.roll(centres, 1, 0))
        grid[half::step, ::step] = mean(corners + below + centres + np.roll(centres, 1, 1))
        step, wibble = half, wibble / decay
    return (grid - grid.min()) / (grid.max() - grid.min())


def brightness(image, i):
    hsv = rgb2hsv(levels(image))
    hsv[..., 2] = np.clip(hsv[..., 2] + (0.1, 0.2, 0.3, 0.4, 0.5)[i], 0, 1)
    return whole(hsv2rgb(hsv))


def contrast(image, i):
    x = levels(image)
    mean = x.mean((0, 1), keepdims=True)
    return whole((x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[i] + mean)


def defocus_blur(image, i):
    radius, rim = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[i]
    reach = max(radius, 8)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    size = 3 if radius <= 8 else 5
    kernel = cv2.GaussianBlur(disk / disk.sum(), (size, size), rim)
    return whole(np.stack([cv2.filter2D(channel, -1, kernel) for channel in np.moveaxis(levels(image), -1, 0)], -1))


def elastic_transform(image, i):
    move, together, pull = ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88))[i]
    stream = Stream(20 + i)
    # At the size of this picture, the published pulls would turn it inside out.
    corners = stream.around_zero(3, 2)
    x = (np.asarray(image) / 255).astype(np.float32)
    middle, reach = np.float32(x.shape[:2]) // 2, SIDE // 3
    before = np.float32([middle + reach, [middle[0] + reach, middle[1] - reach], middle - reach])
    after = before + (corners * pull / 10).astype(np.float32)
    x = cv2.warpAffine(x, cv2.getAffineTransform(before, after), (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    right = gaussian(stream.around_zero(SIDE, SIDE), together, mode="reflect", truncate=3) * move
    down = gaussian(stream.around_zero(SIDE, SIDE), together, mode="reflect", truncate=3) * move
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    places = [rows + down, columns + right]
    return whole(np.stack([ndimage.map_coordinates(x[..., c], places, order=1, mode="reflect") for c in range(3)], -1))


def fog(image, i):
    amount, decay = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[i]
    x = levels(image)
    cloud = heights(64, decay, Stream(30 + i))[:SIDE, :SIDE, None]
    return whole((x + amount * cloud) * x.max() / (x.max() + amount))


def frost(image, i):
    kept, added = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[i]
    ice = np.uint8(Stream(40 + i).units(SIDE, SIDE, 3) * 256)
    return np.uint8(np.clip(kept * np.float64(image) + added * ice, 0, 255))


def glass_blur(image, i):
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[i]
    stream = Stream(50 + i)
    x = np.uint8(gaussian(levels(image), sigma=sigma, channel_axis=-1) * 255)
    for _ in range(times):
        for row in range(SIDE - reach, reach, -1):
            for column in range(SIDE - reach, reach, -1):
                right, down = np.floor(stream.units(2) * 2 * reach).astype(int) - reach
                # Views: the second of the two assignments copies the pixel that has just come.
                x[row, column] = x[row + down, column + right]
    return whole(gaussian(x / 255.0, sigma=sigma, channel_axis=-1))


def jpeg_compression(image, i):
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=(25, 18, 15, 10, 7)[i])
    return np.asarray(Image.open(data))


def motion_blur(image, i):
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[i]
    return moved(image, radius, sigma, (-45, -17.3, 0, 8.8, 40)[i])


def pixelate(image, i):
    small = int(SIDE * (0.6, 0.5, 0.4, 0.3, 0.25)[i])
    return np.asarray(Image.fromarray(image).resize((small, small), Image.BOX).resize((SIDE, SIDE), Image.BOX))


def snow(image, i):
    mean, deviation, zoom, threshold, radius, sigma, kept = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[i]
    x = np.float32(image) / 255
    flakes = into_the_middle(mean + deviation * Stream(60 + i).bells(SIDE, SIDE)[..., None], zoom)[..., 0]
    flakes[flakes < threshold] = 0
    flakes = moved(whole(flakes), radius, sigma, (-135, -110.5, -90, -66.6, -45)[i])[..., None] / 255.0
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
    x = kept * x + (1 - kept) * np.maximum(x, grey * 1.5 + 0.5)
    return whole(x + flakes + flakes[::-1, ::-1])


def zoom_blur(image, i):
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[i]
    x = (np.asarray(image) / 255).astype(np.float32)
    zooms = np.arange(1, end, step)
    return whole((x + sum(into_the_middle(x, zoom) for zoom in zooms)) / (len(zooms) + 1))


def main():
    OUT.mkdir(exist_ok=True)
    image = picture()
    Image.fromarray(image).save(OUT / "picture.png", optimize=True)
    for corrupt in (brightness, contrast, defocus_blur, elastic_transform, fog, frost, glass_blur, jpeg_compression,
                    motion_blur, pixelate, snow, zoom_blur):
        strip = np.concatenate([corrupt(image, severity) for severity in range(5)])
        Image.fromarray(strip).save(OUT / f"{corrupt.__name__}.png", optimize=True)
    # What is done before: the short side to 256/224 of the wanted one, bilinear, and the middle.
    for name in ("wide", "high"):
        source = Image.open(Path(__file__).parent / "images" / f"{name}.png").convert("RGB")
        short = 24 * 256 // 224
        width, height = source.size
        size = (short, short * height // width) if width <= height else (short * width // height, short)
        # Columns before rows, as every Pillow of the time had it.
        small = source.resize((size[0], height), Image.BILINEAR).resize(size, Image.BILINEAR)
        left, top = round((size[0] - 24) / 2), round((size[1] - 24) / 2)
        small.crop((left, top, left + 24, top + 24)).save(OUT / f"prepared_{name}.png", optimize=True)


main()
