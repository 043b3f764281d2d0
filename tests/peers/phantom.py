"""Made-up CTs that benchmarks measure on, and NIfTI files of them."""

import gzip
import struct

import numpy as np


def phantom(slices, size, seed):
    """Slices of a made-up body in HU: air, fat, muscle, organs, a spine, scanner noise; -1024 outside the round field of view."""
    random = np.random.default_rng(seed)
    y, x = (np.mgrid[0:size, 0:size] - (size - 1) / 2) / (size / 2)
    centers = [(random.uniform(-0.4, 0.4), random.uniform(-0.3, 0.3), random.uniform(0.08, 0.25), hu) for hu in (-850, -800, 60, 110, 130, 190)]
    volume = np.empty((slices, size, size), np.int16)
    for number in range(slices):
        swell = 1 + 0.06 * np.sin(6 * number / slices)
        radius = (x / (0.8 * swell)) ** 2 + (y / (0.58 * swell)) ** 2
        image = np.full((size, size), -1000.0)
        image[radius < 1] = -100
        image[radius < 0.85] = 45
        for cx, cy, r, hu in centers:
            image[(x - cx) ** 2 + (y - cy - 0.1 * np.sin(5 * number / slices)) ** 2 < r * r] = hu
        image[(x / 0.09) ** 2 + ((y - 0.35) / 0.1) ** 2 < 1] = 300
        grain = random.standard_normal((size, size))
        grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / 3**0.5
        image += 17 * grain
        image[x * x + y * y > 1] = -1024
        volume[number] = np.rint(np.maximum(image, -1024))
    return volume


def write_nifti(path, volume):
    """Writes int16 slices, by gzip at level 6 where the name ends in .gz."""
    depth, height, width = volume.shape
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, width, height, depth, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<4f", header, 76, 1, 0.8, 0.8, 1.5)
    struct.pack_into("<2f", header, 108, 352, 1)
    header[123] = 2
    struct.pack_into("<2h", header, 252, 0, 1)
    for row, values in enumerate([(-0.8, 0, 0, 0), (0, -0.8, 0, 0), (0, 0, 1.5, 0)]):
        struct.pack_into("<4f", header, 280 + 16 * row, *values)
    header[344:348] = b"n+1\0"
    plain = bytes(header) + volume.tobytes()
    path.write_bytes(gzip.compress(plain, 6) if path.suffix == ".gz" else plain)
