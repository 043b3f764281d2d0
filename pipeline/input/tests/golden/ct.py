"""Antialiased resampling and the whole ct recipe on small volumes, by torch, MONAI, numpy and SimpleITK.

Run in this folder; writes ct.bin (float32, little-endian, the cases in order) and ct.txt (one case a line: name, source
shape, target shape and for recipes the recipe as JSON). Sources are made by `noise`, which the test repeats. `pip install
torch monai SimpleITK numpy`.
"""
import json

import monai
import numpy as np
import SimpleITK as sitk
import torch
from monai.transforms import ResizeWithPadOrCrop, ScaleIntensityRange

WINDOWS = {"soft_tissue": (40, 400), "lung": (-600, 1500), "bone": (400, 1800), "brain": (40, 80), "mediastinum": (50, 350), "wide": (0, 2000)}


def noise(count, seed):
    n = (np.arange(count, dtype=np.uint64) + np.uint64(seed * 1000003)) * np.uint64(2654435761) % np.uint64(2**32)
    return (n >> np.uint64(20)).astype(np.float32)  # 0 ... 4095


def antialias(volume, target):
    """torch has the antialiased filter for two axes: H and W first, then D with an unchanged W."""
    def two(x, size):
        return torch.nn.functional.interpolate(x[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    x = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float64))
    x = two(x, target[1:]).permute(1, 0, 2)
    return two(x, (target[0], target[2])).permute(1, 0, 2).numpy()


def to_spacing(volume, own, asked):
    """Axes that shrink by torch (their length is a multiple of the step), axes that grow by SimpleITK, middle on middle."""
    step = [a / o for a, o in zip(asked, own)]
    size = [max(1, round(n / s)) for n, s in zip(volume.shape, step)]
    assert all(s <= 1 or n == m * s for n, m, s in zip(volume.shape, size, step)), "torch would stretch it"
    x = antialias(volume, [m if s > 1 else n for n, m, s in zip(volume.shape, size, step)])
    step = [s if s <= 1 else 1.0 for s in step]
    origin = [(n - 1) / 2 - (m - 1) / 2 * s for n, m, s in zip(x.shape, size, step)]
    image = sitk.GetImageFromArray(x)
    grown = sitk.Resample(image, size[::-1], sitk.Transform(), sitk.sitkLinear, origin[::-1], step[::-1], image.GetDirection(), 0.0, sitk.sitkFloat64)
    return sitk.GetArrayFromImage(grown)


def bounds(volume, intensity):
    if intensity == "none":
        return None
    if "window" in intensity:
        window = intensity["window"]
        center, width = WINDOWS[window] if isinstance(window, str) else (window["center"], window["width"])
        return center - width / 2, center + width / 2
    return tuple(np.percentile(volume, [intensity["percentile"]["low"], intensity["percentile"]["high"]]))


def recipe(volume, own, r, hu_known=True):
    ends = bounds(volume, r["intensity"])
    crop = r.get("crop", "foreground")
    if crop != "none":
        threshold = crop["above_hu"] if isinstance(crop, dict) else -500 if hu_known else volume.min()
        where = np.argwhere(volume > threshold)
        low, high = where.min(0), where.max(0) + 1
        volume = volume[low[0]:high[0], low[1]:high[1], low[2]:high[2]]
    if "spacing_mm" in r:
        x = to_spacing(volume, own, r["spacing_mm"])
        pad = ends[0] if ends else -1000.0
        x = ResizeWithPadOrCrop(r["shape_dhw"], constant_values=pad)(x[None])[0].numpy()
    else:
        x = antialias(volume, r["shape_dhw"])
    if ends:
        x = np.asarray(ScaleIntensityRange(ends[0], ends[1], 0.0, 1.0, clip=True, dtype=np.float64)(x))
    return x


def main():
    out, lines = [], []
    plain = [
        ((7, 9, 11), (4, 6, 8)), ((5, 6, 7), (8, 10, 12)), ((1, 9, 5), (4, 4, 4)), ((6, 1, 1), (3, 5, 7)), ((1, 1, 1), (2, 2, 2)),
        ((4, 6, 8), (4, 6, 8)), ((37, 61, 5), (8, 16, 8)), ((3, 4, 317), (2, 3, 40)), ((211, 3, 3), (33, 2, 2)), ((5, 12, 9), (1, 1, 1)),
    ]
    for seed, (shape, target) in enumerate(plain):
        out.append(antialias(noise(np.prod(shape), seed).reshape(shape), target))
        lines.append(f"triangle {'x'.join(map(str, shape))} {'x'.join(map(str, target))}")
    own = (5.0, 0.75, 0.75)
    box = [
        ((9, 20, 24), {"shape_dhw": [4, 8, 16], "intensity": "none"}),
        ((9, 20, 24), {"shape_dhw": [4, 8, 12], "intensity": {"window": "soft_tissue"}}),
        ((3, 30, 17), {"shape_dhw": [6, 16, 8], "intensity": {"window": "lung"}, "crop": "none"}),
        ((8, 14, 18), {"shape_dhw": [4, 8, 8], "intensity": {"window": {"center": -20, "width": 612.5}}, "crop": {"above_hu": 900}}),
        ((8, 14, 18), {"shape_dhw": [4, 8, 8], "intensity": {"percentile": {"low": 0.5, "high": 99.5}}}),
        # D grows by 2, H and W shrink by 3; D is padded and H and W are cut.
        ((6, 36, 24), {"shape_dhw": [13, 7, 5], "spacing_mm": [2.5, 2.25, 2.25], "intensity": {"window": "wide"}, "crop": "none"}),
        # All grow, by steps that are no fraction of the length, and all are cut or padded by odd counts.
        ((4, 9, 10), {"shape_dhw": [5, 14, 9], "spacing_mm": [3.7, 0.6, 0.7], "intensity": "none"}),
        ((5, 9, 12), {"shape_dhw": [4, 12, 14], "spacing_mm": [5.0, 0.75, 0.75], "intensity": {"window": "bone"}, "crop": "none"}),
    ]
    for seed, (shape, r) in enumerate(box, start=200):
        volume = np.full(shape, -1000, np.float32)
        inner = tuple(slice(1, n - 1) if n > 3 else slice(None) for n in shape)
        volume[inner] = (noise(np.prod(shape), seed).reshape(shape) % 2048 - 1024)[inner]
        out.append(recipe(volume, own, r))
        lines.append(f"ct {'x'.join(map(str, shape))} {json.dumps(r, separators=(',', ':'))}")
    np.concatenate([x.astype("<f4").ravel() for x in out]).tofile("ct.bin")
    versions = f"# torch {torch.__version__}, monai {monai.__version__}, SimpleITK {sitk.__version__}, numpy {np.__version__}\n"
    with open("ct.txt", "w") as file:
        file.write(versions + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
