"""How well copies of a volume are found by their looks, and how seldom others: `look_table.py BINARY FOLDER`.

FOLDER has NIfTI files of different patients, in Hounsfield units or as 8-bit images, names that begin alike up to the first `_` being one
patient. Each file in three planes is a series; its copies are other windows, JPEG of quality 50 to 95 and resamplings. Unrelated volumes are
slabs of 12 slices, whole and quartered, of every series, and made-up bodies. All are prepared by BINARY (`med2e3-data`) and compared by the
rule of pipeline/input/src/perceptual.rs. Prints Markdown. Needs numpy, scipy, nibabel, Pillow, pyarrow.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from scipy import ndimage

WINDOWS = {"wide": (0, 2000), "lung": (-600, 1500), "soft tissue": (40, 400), "bone": (400, 1800), "mediastinum": (50, 350)}


def series(path):
    """The file in three planes, each D H W."""
    image = nib.as_closest_canonical(nib.load(path))
    values = np.asarray(image.get_fdata(dtype=np.float32))
    values = values[..., 0] if values.ndim > 3 else values
    axial = np.ascontiguousarray(values.transpose(2, 1, 0)[:, ::-1, ::-1])
    yield "axial", axial
    yield "coronal", np.ascontiguousarray(axial.transpose(1, 0, 2)[:, ::-1])
    yield "sagittal", np.ascontiguousarray(axial.transpose(2, 0, 1)[:, ::-1])


def window(values, center, width):
    return np.clip(np.round((values - (center - width / 2)) / width * 255), 0, 255).astype(np.uint8)


def jpeg(pixels, quality):
    out = np.empty_like(pixels)
    for number, slice_ in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(slice_).save(file, "JPEG", quality=quality)
        out[number] = np.asarray(Image.open(file))
    return out


def zoom(values, factors):
    return ndimage.zoom(values.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)


def copies(values, is_hu):
    """Kind and voxels of every copy, the original first."""
    yield "original", values
    if is_hu:
        shown = {name: window(values, *level) for name, level in WINDOWS.items()}
        yield from (("window", pixels) for pixels in shown.values())
        images = [shown["soft tissue"], shown["wide"]]
        yield "window and JPEG", jpeg(shown["lung"], 50)
        yield "window and JPEG", jpeg(shown["bone"], 75)
    else:
        images = [np.clip(values / max(1, values.max()) * 255, 0, 255).astype(np.uint8)]
        low, high = np.percentile(images[0], [30, 98])
        yield "window", window(images[0], (low + high) / 2, max(1, high - low))
    for quality in (50, 75, 85, 95):
        yield from ((f"JPEG {quality}", jpeg(image, quality)) for image in images)
    for factors in [(1, 0.5, 0.5), (1, 0.75, 0.75), (1, 1.5, 1.5), (0.5, 1, 1), (0.7, 0.7, 0.7)]:
        yield "resampled", zoom(values, factors)
    yield "resampled", values[::2]
    yield "half size and JPEG", jpeg(np.clip(zoom(images[0], (1, 0.5, 0.5)), 0, 255).astype(np.uint8), 75)


def slabs(values):
    depth, height, width = values.shape
    for start in range(0, depth - 11, 12):
        slab = values[start : start + 12]
        yield slab
        for row in range(2):
            for column in range(2):
                part = slab[:, row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2]
                if part.std() > 1:
                    yield part


def body(seed):
    """Ellipsoids, a flat ground with one ball, noise, or a smooth field."""
    draw = np.random.default_rng(seed)
    shape = draw.integers(12, 48), draw.integers(40, 128), draw.integers(40, 128)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    ball = lambda center, axes: (((grid - np.reshape(center, (3, 1, 1, 1))) / np.reshape(axes, (3, 1, 1, 1))) ** 2).sum(0) < 1
    values = np.zeros(shape, np.float32)
    match seed % 4:
        case 0:
            values[ball(draw.normal(0, 0.05, 3), draw.uniform(0.6, 0.95, 3))] = draw.uniform(30, 230)
            for _ in range(draw.integers(1, 8)):
                values[ball(draw.normal(0, 0.25, 3), draw.uniform(0.1, 0.4, 3))] = draw.uniform(30, 230)
            values += draw.normal(0, 3, shape)
        case 1:
            values += 100 + draw.normal(0, draw.uniform(0.5, 5), shape)
        case 2:
            values[ball(draw.uniform(-0.7, 0.7, 3), np.full(3, draw.uniform(0.1, 0.4)))] = 200
            values[0, 0, 0] = 1
        case 3:
            values = ndimage.gaussian_filter(draw.normal(0, 1, shape), [n / draw.uniform(6, 14) for n in shape], mode="nearest")
            values = (values - values.min()) / np.ptp(values) * 255
    return np.clip(values, 0, 255)


def looks(binary, volumes, work):
    """The two planes of 256 flags of each volume, as the program writes them; none where it set one aside."""
    inputs = work / "inputs"
    inputs.mkdir()
    for number, values in enumerate(volumes):
        values = values if values.dtype == np.uint8 else values.astype(np.float32)
        nib.save(nib.Nifti1Image(values[:, ::-1, ::-1].transpose(2, 1, 0), np.eye(4)), inputs / f"{number:06}.nii")
    sets = ["volume.shape=[2,8,8]", 'provenance.paths="keep"', "limits.reject_percent=100.0"]
    command = [binary, "prepare", inputs, "--recipe", "m3d", "--out", work / "dataset"]
    done = subprocess.run(command + [word for one in sets for word in ("--set", one)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    table = pq.read_table(work / "dataset" / "volumes", columns=["source_path", "perceptual_hash"]).to_pylist()
    flags = {}
    for row in table:
        bits = np.unpackbits(np.frombuffer(row["perceptual_hash"], np.uint8), bitorder="little").astype(bool)
        flags[int(Path(row["source_path"]).name.split(".")[0])] = bits[:256], bits[256:]
    return flags


def alike(brighter, differs):
    """Which pairs the rule calls alike."""
    first, known = (brighter & differs).astype(np.float32), differs.astype(np.float32)
    second = known - first
    both, unequal, ones = known @ known.T, first @ second.T + second @ first.T, first @ known.T
    expected = ones * (both - ones.T) + ones.T * (both - ones)
    return (both > 0) & (expected >= 32 * both) & (9 * unequal * both <= expected)


def main():
    binary, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    volumes, labels = [], []
    for path in sorted([*folder.rglob("*.nii"), *folder.rglob("*.nii.gz")]):
        for plane, values in series(path):
            is_hu = bool((values <= -500).any())
            for kind, copy in copies(values, is_hu):
                volumes.append(copy)
                labels.append((path.name.split("_")[0], f"{path.name} {plane}", kind))
            for part in slabs(values):
                volumes.append(part)
                labels.append((path.name.split("_")[0], None, "slab"))
    for seed in range(400):
        volumes.append(body(seed))
        labels.append((f"body {seed}", None, "body"))
    with tempfile.TemporaryDirectory() as work:
        flags = looks(binary, volumes, Path(work))
    kept = sorted(flags)
    labels = [labels[number] for number in kept]
    near = alike(*(np.array([flags[number][plane] for number in kept]) for plane in (0, 1)))
    names = np.array([name or f"alone {number}" for number, (_, name, _) in enumerate(labels)])
    kinds = np.array([kind for _, _, kind in labels])
    original, copy = kinds == "original", ~np.isin(kinds, ["slab", "body", "original"])
    same = names[:, None] == names[None]
    print(f"{original.sum()} series, {copy.sum()} copies\n\n| copy | pairs with the original | found |\n|---|---|---|")
    for kind in sorted(set(kinds[copy])):
        pairs = same & original[:, None] & (kinds == kind)[None]
        print(f"| {kind} | {pairs.sum()} | {near[pairs].mean():.3f} |")
    pairs = np.triu(same & (original | copy)[:, None] & (original | copy)[None], 1)
    print(f"| any copy with any other of its series | {pairs.sum()} | {near[pairs].mean():.3f} |")
    alone = np.isin(kinds, ["slab", "body"])
    others = np.triu(alone[:, None] & alone[None], 1)
    print(f"\n{alone.sum()} unrelated volumes: {near[others].sum()} of {others.sum()} pairs taken for copies")
    patients = np.array([patient for patient, _, _ in labels])
    others = np.triu((original | copy)[:, None] & (original | copy)[None] & (patients[:, None] != patients[None]), 1)
    print(f"series of different patients: {near[others].sum()} of {others.sum()} pairs taken for copies")


if __name__ == "__main__":
    main()
